//! The `lifeboat` program: parse, wire, run.

use lifeboat::cli::{self, CliError, Wiring};

fn main() -> std::process::ExitCode {
    cli::main(Wiring {
        console: |_client, _global| Box::pin(async { Err(CliError::failed("the console is not built yet")) }),
        demo: |_args, _global| Box::pin(async { Err(CliError::failed("the demo is not built yet")) }),
    })
}
