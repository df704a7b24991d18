//! The `lifeboat` program: parse, wire, run.

use std::io::{IsTerminal, Write};

use lifeboat::api::Client;
use lifeboat::cli::{self, CliError, ColorWhen, DemoArgs, Exit, Global, Wiring};
use lifeboat::clock::Clock;
use lifeboat::sandbox::{self, DemoOptions, SandboxError, Scenario, World};
use lifeboat::tui::theme::Depth;
use lifeboat::tui::{self, TuiOptions};

fn main() -> std::process::ExitCode {
    cli::main(Wiring {
        console: |client, global| {
            Box::pin(async move {
                let embedded = global.embedded;
                open(client, &global, embedded, Vec::new()).await
            })
        },
        demo: |args, global| Box::pin(demo(args, global)),
    })
}

/// Opens the console on an agent, and says on leaving what goes on.
async fn open(
    client: Client,
    global: &Global,
    embedded: bool,
    practice: Vec<(String, String)>,
) -> Result<Exit, CliError> {
    let options = TuiOptions {
        read_only: global.read_only,
        embedded,
        plain: global.plain,
        practice,
        depth: matches!(global.color, ColorWhen::Never).then_some(Depth::Mono),
        ..TuiOptions::new(Clock::system())
    };
    let run = async { tui::run(client, options.with_environment()?).await };
    let note = run
        .await
        .map_err(|error| CliError::failed(error.to_string()).maybe_hint(error.hint()))?;
    say(&note.to_string());
    Ok(Exit::Done)
}

/// Builds the sandbox, then opens the console on it, or plays the drill as a log where there is no terminal.
async fn demo(args: DemoArgs, global: Global) -> Result<Exit, CliError> {
    let options = DemoOptions {
        dir: args.dir,
        keep: args.keep,
        scenario: args.scenario.as_deref().map(scenario).transpose()?,
        report: args.report,
    };
    let clock = Clock::system();
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.headless || options.scenario.is_some() || global.plain || !terminal {
        return match sandbox::drill(&options, &clock, &say).await {
            Ok(verdict) if verdict.identical => Ok(Exit::Done),
            Ok(_) => Err(CliError::failed("what came back is not what was there")),
            Err(error) => Err(ended(&error)),
        };
    }
    let interrupted = sandbox::interruption().map_err(|error| ended(&error))?;
    let mut world = tokio::select! {
        built = World::build(&options, &clock, &say) => built.map_err(|error| ended(&error))?,
        () = interrupted => return Err(ended(&SandboxError::Interrupted)),
    };
    world.first_backups().await;
    world.keep_score();
    let practice = world.incidents().into_iter().map(|offer| (offer.name, offer.cure));
    let exit = open(world.client(), &global, true, practice.collect()).await;
    let scores = world.scores();
    world.close().await;
    if !scores.is_empty() {
        say("What practice came to:");
    }
    for score in scores {
        say(&format!("  {score}"));
    }
    exit
}

fn scenario(word: &str) -> Result<Scenario, CliError> {
    Scenario::from_word(word).ok_or_else(|| {
        let lines: Vec<String> = Scenario::ALL
            .iter()
            .map(|known| format!("{} ({})", known.word(), known.title()))
            .collect();
        CliError::usage(format!("there is no scenario {word}")).hint(format!("choose one of: {}", lines.join(", ")))
    })
}

fn ended(error: &SandboxError) -> CliError {
    match error {
        SandboxError::Interrupted => CliError::cancelled("the demo was interrupted; everything it made is gone"),
        error => CliError::failed(format!("the demo failed: {error}")).maybe_hint(error.hint()),
    }
}

fn say(line: &str) {
    // Nobody may be reading any more; the work goes on, because it has things to take down.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
