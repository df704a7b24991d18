//! The console in a real terminal: how it leaves one, how it stops and comes back, and how little it sends.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::seat::{PATIENCE, Seat, size};

fn seat() -> Seat {
    let seat = Seat::new(80, 24, &[]);
    seat.until_shows("SERVICES");
    seat
}

#[test]
fn leaving_gives_the_terminal_back_and_says_what_goes_on() {
    let mut seat = seat();
    seat.press("\x03");
    seat.is_given_back();
    let text = seat.text();
    assert!(
        text.contains("2 backups and 1 recovery and the schedules go on"),
        "{text}"
    );
    assert!(text.contains("pid 4711"), "{text}");
}

#[test]
fn leaving_with_a_capital_q_keeps_the_screen_for_the_ticket() {
    let mut seat = seat();
    seat.press("6");
    seat.until_shows("What to do next");
    seat.press("Q");
    seat.is_given_back();
    assert!(seat.text().contains("documents would lose 7h12m"), "{}", seat.text());
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut seat = seat();
        kill(seat.pid(), signal).unwrap();
        seat.is_given_back();
    }
}

#[test]
fn a_panic_anywhere_gives_the_terminal_back_before_it_is_told() {
    let mut seat = Seat::new(80, 24, &[("LIFEBOAT_PANIC", "1500")]);
    seat.until_shows("SERVICES");
    seat.is_given_back();
    let text = seat.text();
    assert!(text.contains("on purpose, to see the terminal given back"), "{text}");
    assert!(text.contains("the agent goes on"), "{text}");
}

fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn control_z_stops_with_the_terminal_given_back_and_returns_whole() {
    let mut seat = seat();
    for round in 0..3 {
        seat.press("\x1a");
        seat.until("it stops", |seat| is_stopped(seat.pid()));
        seat.pause(100);
        seat.is_plain();
        kill(seat.pid(), Signal::SIGCONT).unwrap();
        seat.until("it is back", |seat| {
            let heard = seat.heard.lock().unwrap();
            heard.screen.screen().alternate_screen() && heard.screen.screen().contents().contains("SERVICES")
        });
        assert!(!seat.edits_lines(), "round {round}");
    }
    seat.press("2");
    seat.until_shows("LATEST RUNS");
}

#[test]
fn a_stop_from_outside_is_answered_in_the_same_way() {
    let mut seat = seat();
    kill(seat.pid(), Signal::SIGTSTP).unwrap();
    seat.until("it stops", |seat| is_stopped(seat.pid()));
    seat.pause(100);
    seat.is_plain();
    kill(seat.pid(), Signal::SIGCONT).unwrap();
    seat.until("it is back", |seat| {
        seat.heard.lock().unwrap().screen.screen().alternate_screen()
    });
    seat.press("3");
    seat.until_shows("EVIDENCE");
}

#[test]
fn a_storm_of_sizes_ends_in_the_right_picture() {
    let seat = seat();
    for round in 0u16..60 {
        let (columns, rows) = match round % 4 {
            0 => (20, 5),
            1 => (160, 50),
            2 => (60 + round, 16),
            _ => (1 + round % 7, 1 + round % 3),
        };
        seat.master.resize(size(columns, rows)).unwrap();
        seat.pause(5);
    }
    seat.heard
        .lock()
        .unwrap()
        .screen
        .screen_mut()
        .set_size(24.try_into().unwrap(), 80.try_into().unwrap());
    seat.master.resize(size(80, 24)).unwrap();
    seat.until("the whole picture", |seat| {
        let text = seat.text();
        let lines: Vec<&str> = text.lines().collect();
        lines.first().is_some_and(|line| line.contains("PROD eu-west"))
            && text.contains("SERVICES")
            && text.contains("help")
    });
}

#[test]
fn twenty_by_five_is_survived() {
    let mut seat = Seat::new(20, 5, &[]);
    seat.until_shows("2 crit  2 warn");
    for keys in ["3j", "\r", "a", "\r", "?:x", "\x1b", "\x1b", "\x1b", "4", "\r", "\x1b"] {
        seat.press(keys);
        // A terminal sends Esc and a letter at once for Alt and that letter.
        seat.pause(100);
    }
    seat.until_shows("PROD eu-west");
    assert!(!seat.ended());
    seat.press("\x03");
    seat.is_given_back();
}

#[test]
fn an_idle_console_is_silent_and_nearly_free() {
    let seat = seat();
    seat.until_quiet();
    let (bytes, cpu) = (seat.received(), cpu_ticks(seat.pid()));
    seat.pause(6000);
    assert_eq!(seat.received() - bytes, 0, "bytes in six quiet seconds");
    let used = cpu_ticks(seat.pid()) - cpu;
    println!("idle: {used} ticks of 10 ms in 6 s, the hands of the test's clock included");
    assert!(used <= 12, "{used} ticks of 10 ms in 6 s");
}

fn cpu_ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn every_key_is_answered_at_once() {
    let mut seat = Seat::new(80, 24, &[("LIFEBOAT_CLOCK", "system"), ("LIFEBOAT_SNAPSHOTS", "5000")]);
    seat.until_shows("SERVICES");
    seat.press("3");
    seat.until_shows("EVIDENCE");
    let mut waits = Vec::new();
    for _ in 0..12 {
        // Long enough apart for the console to have gone to sleep, and not in step with its seconds.
        seat.pause(370);
        let bytes = seat.received();
        let started = seat.clock.monotonic();
        seat.press("j");
        while seat.received() == bytes {
            assert!(seat.clock.elapsed(started) < PATIENCE);
            seat.pause(1);
        }
        waits.push(seat.clock.elapsed(started));
    }
    waits.sort();
    println!("key to paint: median {:?}, longest {:?}", waits[6], waits[11]);
    assert!(waits[6] < Duration::from_millis(60), "{waits:?}");
    assert!(waits[11] < Duration::from_millis(250), "{waits:?}");
}

#[test]
fn a_live_feed_stays_within_its_budget() {
    for (columns, rows, colors, budget) in [(80, 24, "", 1024), (160, 50, "", 2048), (160, 50, "truecolor", 3072)] {
        let mut seat = Seat::new(columns, rows, &[("LIFEBOAT_SCRIPT", "busy"), ("COLORTERM", colors)]);
        seat.until_shows("SERVICES");
        for screen in ["1", "4"] {
            seat.press(screen);
            seat.pause(1500);
            let bytes = seat.received();
            seat.pause(5000);
            let rate = (seat.received() - bytes) / 5;
            println!("screen {screen} at {columns}x{rows} {colors}: {rate} B/s of {budget}");
            assert!(rate > 0, "the feed shows");
            assert!(rate <= budget, "screen {screen} at {columns}x{rows}: {rate} B/s");
        }
        let frames = (seat.count(b"\x1b[?2026h"), seat.count(b"\x1b[?2026l"));
        assert!(frames.0.abs_diff(frames.1) <= 1, "each frame is bracketed: {frames:?}");
    }
}

#[test]
fn a_full_repaint_is_small() {
    let mut seat = Seat::new(160, 50, &[("COLORTERM", "truecolor")]);
    seat.until_shows("SERVICES");
    seat.press("3");
    seat.until_shows("EVIDENCE");
    seat.until_quiet();
    let bytes = seat.received();
    seat.press("\x0c");
    seat.until_quiet();
    let repaint = seat.received() - bytes;
    println!("a full repaint at 160x50 in true colour: {repaint} bytes");
    assert!(repaint > 1000 && repaint <= 16 * 1024, "{repaint} bytes");
}

#[test]
fn a_lost_agent_is_called_stale_and_taken_up_again() {
    let seat = Seat::new(80, 24, &[("LIFEBOAT_SCRIPT", "broken")]);
    seat.until_shows("STALE");
    assert!(seat.text().contains("SERVICES"), "what was known stays");
    seat.until("it is live again", |seat| {
        !seat.text().contains("STALE") && seat.text().contains("live")
    });
}

#[test]
fn a_recovered_server_is_opened_by_hands_in_a_terminal() {
    let mut seat = Seat::new(80, 24, &[("LIFEBOAT_SCRIPT", "waiting")]);
    seat.until_shows("SERVICES");
    seat.press("4");
    seat.until_shows("WAITS");
    seat.press("gga");
    seat.until_shows("Open it for writing");
    seat.press("\r");
    seat.until_shows("Type orders-0311");
    // Keys that come at once are the ones that led here; they do not lead through.
    seat.press("orders-0311");
    seat.pause(800);
    seat.press("orders-0311\r");
    seat.until_shows("opening the server of rec-01hd3k8w4d6f1");
}

#[test]
fn without_a_terminal_it_says_so() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "process::console", "--nocapture"])
        .env("LIFEBOAT_SCRIPT", "quiet");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("needs a terminal"), "{text}");
    assert!(!text.contains('\x1b'), "nothing but text: {text}");
}
