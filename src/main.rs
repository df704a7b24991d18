//! The `lifeboat` program: parse, wire, run.

use lifeboat::api::Client;
use lifeboat::cli::{self, CliError, Exit, Global, Wiring};
use lifeboat::clock::Clock;
use lifeboat::tui::{self, TuiOptions};

fn main() -> std::process::ExitCode {
    cli::main(Wiring {
        console: |client, global| Box::pin(console(client, global)),
        demo: |_args, _global| Box::pin(async { Err(CliError::failed("the demo is not built yet")) }),
    })
}

/// Opens the console on an agent, and says on leaving what goes on.
async fn console(client: Client, global: Global) -> Result<Exit, CliError> {
    let options = TuiOptions {
        read_only: global.read_only,
        embedded: global.embedded,
        plain: global.plain,
        ..TuiOptions::new(Clock::system())
    };
    let note = tui::run(client, options)
        .await
        .map_err(|error| CliError::failed(error.to_string()).maybe_hint(error.hint().map(str::to_owned)))?;
    println!("{note}");
    Ok(Exit::Done)
}
