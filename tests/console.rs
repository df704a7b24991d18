//! The console: its rules without a terminal, every screen as it looks, and its manners in a real terminal.

#[path = "console/alarms.rs"]
mod alarms;
#[path = "console/by_lines.rs"]
mod by_lines;
#[path = "console/contents.rs"]
mod contents;
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
#[path = "console/rows.rs"]
mod rows;
#[path = "console/rules.rs"]
mod rules;
#[path = "console/runbook_screens.rs"]
mod runbook_screens;
#[path = "console/runbooks.rs"]
mod runbooks;
#[path = "console/runner.rs"]
mod runner;
#[path = "console/screens.rs"]
mod screens;
#[path = "console/script.rs"]
mod script;
#[path = "console/seat.rs"]
mod seat;
#[path = "console/server_looks.rs"]
mod server_looks;
#[path = "console/servers.rs"]
mod servers;
#[path = "console/states.rs"]
mod states;
#[path = "console/wizard.rs"]
mod wizard;
