//! The console as a process of its own, on the scripted agent: what the tests in a terminal run, and what one can look at.
//!
//! ```text
//! LIFEBOAT_SCRIPT=busy cargo test --test console -- --ignored --exact process::console --nocapture
//! ```

use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::tui::{TuiOptions, run};

use crate::fixture;
use crate::script::{Mood, Script};

#[test]
#[ignore = "not a test: the process that the tests in a terminal start"]
fn console() {
    let var = |name: &str| std::env::var(name).ok();
    let Some(mood) = var("LIFEBOAT_SCRIPT") else { return };
    let mood = match mood.as_str() {
        "busy" => Mood::Busy,
        "broken" => Mood::Broken,
        "gone" => Mood::Gone,
        "waiting" => Mood::Waiting,
        "led" => Mood::Led,
        _ => Mood::Quiet,
    };
    let snapshots = var("LIFEBOAT_SNAPSHOTS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(120);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // The hands of that clock are turned here, so that every run of the test sees the same night.
    let manual = var("LIFEBOAT_CLOCK").as_deref() != Some("system");
    let clock = if manual {
        Clock::manual(fixture::now())
    } else {
        Clock::system()
    };
    let ticking = clock.clone();
    std::thread::spawn(move || {
        let system = Clock::system();
        loop {
            system.block(Duration::from_millis(50));
            ticking.advance(Duration::from_millis(50));
        }
    });
    let mut options = TuiOptions::new(clock);
    options.read_only = var("LIFEBOAT_READ_ONLY").is_some();
    options.theme = var("LIFEBOAT_THEME");
    options.practice = vec![
        ("drop-table".to_owned(), "runbook single-table-recovery".to_owned()),
        ("delete-files".to_owned(), "restore the newest snapshot".to_owned()),
        ("overwrite-files".to_owned(), "runbook ransomware".to_owned()),
    ];
    if let Some(seconds) = var("LIFEBOAT_PANIC").and_then(|text| text.parse().ok()) {
        runtime.spawn(async move {
            Clock::system().sleep(Duration::from_millis(seconds)).await;
            panic!("on purpose, to see the terminal given back");
        });
    }
    let note = runtime.block_on(run(Script::new(mood, snapshots), options));
    match note {
        Ok(note) => println!("{note}"),
        Err(error) => println!("error: {error}"),
    }
    std::process::exit(0);
}
