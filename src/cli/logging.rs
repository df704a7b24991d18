//! The log: the agent's always, a command's only when asked for, the console's never, because the screen is its own.

use tracing_subscriber::EnvFilter;

/// Begins to log to the error stream; `-v` and `$LIFEBOAT_LOG` say more than `level`.
pub fn begin(level: &str, verbose: u8) {
    let asked = match verbose {
        0 => level,
        1 => "debug",
        _ => "trace",
    };
    // Of the libraries below us only what they warn of: their details say nothing about backups.
    let ours = format!("warn,lifeboat={asked}");
    let filter = std::env::var("LIFEBOAT_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(ours)))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // A line that cannot be written, on a disk that is full, is lost. To complain of it on that same stream would be the
        // end of whoever wrote it: of the engine.
        .log_internal_errors(false);
    // There is one already when `-v` was given to the agent; it says more.
    let _ = log.try_init();
}
