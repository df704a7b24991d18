//! The console: its rules without a terminal, every screen as it looks, and its manners in a real terminal.

#[path = "console/finder.rs"]
mod finder;
#[path = "console/fixture.rs"]
mod fixture;
#[path = "console/history.rs"]
mod history;
#[path = "console/kept.rs"]
mod kept;
#[path = "console/led.rs"]
mod led;
#[path = "console/plain.rs"]
mod plain;
#[path = "console/process.rs"]
mod process;
#[path = "console/pty.rs"]
mod pty;
#[path = "console/rules.rs"]
mod rules;
#[path = "console/runbooks.rs"]
mod runbooks;
#[path = "console/runner.rs"]
mod runner;
#[path = "console/screens.rs"]
mod screens;
#[path = "console/script.rs"]
mod script;
#[path = "console/servers.rs"]
mod servers;
#[path = "console/wizard.rs"]
mod wizard;
