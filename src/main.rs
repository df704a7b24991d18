//! The `lifeboat` program: parse, wire, run.

use std::io::Write;

use lifeboat::cli::{self, CliError, DemoArgs, Exit, Wiring};
use lifeboat::clock::Clock;
use lifeboat::sandbox::{DemoOptions, SandboxError, drill};

fn main() -> std::process::ExitCode {
    cli::main(Wiring {
        console: |_client, _global| Box::pin(async { Err(CliError::failed("the console is not built yet")) }),
        demo: |args, _global| Box::pin(demo(args)),
    })
}

/// Builds the sandbox and plays in it.
async fn demo(args: DemoArgs) -> Result<Exit, CliError> {
    let options = DemoOptions {
        dir: args.dir,
        keep: args.keep,
    };
    let print = |line: &str| {
        // Nobody may be reading any more; the drill goes on, because it has things to take down.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    };
    match drill(&options, &Clock::system(), &print).await {
        Ok(verdict) if verdict.identical => Ok(Exit::Done),
        Ok(_) => Err(CliError::failed("what came back is not what was there")),
        Err(SandboxError::Interrupted) => Err(CliError::cancelled("the demo was interrupted")),
        Err(error) => Err(CliError::failed(format!("the demo failed: {error}")).maybe_hint(error.hint())),
    }
}
