//! A program in a real terminal: what it has sent, keys and signals for it, and how it leaves.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat::clock::Clock;
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long a screen may take to show something; generous, because the machine of a test run is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A console in a terminal.
pub struct Seat {
    pub master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    pub heard: Arc<Mutex<Heard>>,
    pub clock: Clock,
}

/// What the terminal has received.
pub struct Heard {
    pub screen: vt100::Parser,
    bytes: Vec<u8>,
}

pub fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

impl Seat {
    pub fn new(columns: u16, rows: u16, env: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "process::console", "--nocapture"]);
        for name in ["NO_COLOR", "COLORTERM", "SSH_TTY", "LC_ALL", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env("LIFEBOAT_SCRIPT", "quiet");
        for (name, value) in env {
            command.env(name, value);
        }
        Self::of(columns, rows, command)
    }

    /// A program in a terminal.
    pub fn of(columns: u16, rows: u16, command: CommandBuilder) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        let heard = Arc::new(Mutex::new(Heard {
            screen,
            bytes: Vec::new(),
        }));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let into = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut heard = into.lock().unwrap();
                heard.screen.process(&buffer[..count]);
                heard.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            master: pair.master,
            child,
            writer,
            heard,
            clock: Clock::system(),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap().cast_signed())
    }

    pub fn text(&self) -> String {
        self.heard.lock().unwrap().screen.screen().contents()
    }

    /// Everything that was ever sent to the terminal.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap().bytes).into_owned()
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut heard = self.heard.lock().unwrap();
        let (height, width) = (rows.try_into().unwrap(), columns.try_into().unwrap());
        heard.screen.screen_mut().set_size(height, width);
        self.master.resize(size(columns, rows)).unwrap();
    }

    pub fn received(&self) -> usize {
        self.heard.lock().unwrap().bytes.len()
    }

    pub fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    pub fn pause(&self, millis: u64) {
        self.clock.block(Duration::from_millis(millis));
    }

    /// Waits until something holds, or fails with what is on the screen.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let started = self.clock.monotonic();
        while !holds(self) {
            assert!(self.clock.elapsed(started) < PATIENCE, "never: {what}\n{}", self.text());
            self.pause(20);
        }
    }

    #[track_caller]
    pub fn until_shows(&self, text: &str) {
        self.until(text, |seat| seat.text().contains(text));
    }

    /// Waits until a text was sent, wherever it has scrolled to by now.
    #[track_caller]
    pub fn until_heard(&self, text: &str) {
        self.until(text, |seat| seat.heard().contains(text));
    }

    /// Waits until a text was sent for the second time.
    #[track_caller]
    pub fn until_heard_again(&self, text: &str) {
        self.until(text, |seat| seat.heard().matches(text).count() > 1);
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn until_ended(&mut self) {
        let started = self.clock.monotonic();
        while !self.ended() {
            assert!(
                self.clock.elapsed(started) < PATIENCE,
                "it does not end\n{}",
                self.text()
            );
            self.pause(20);
        }
    }

    /// Waits until nothing has come for a while.
    pub fn until_quiet(&self) {
        let mut before = self.received();
        let started = self.clock.monotonic();
        loop {
            self.pause(1500);
            let now = self.received();
            if now == before {
                return;
            }
            assert!(self.clock.elapsed(started) < PATIENCE, "it never falls silent");
            before = now;
        }
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, and looks whether the terminal is as it was.
    #[track_caller]
    pub fn is_given_back(&mut self) {
        let started = self.clock.monotonic();
        while !self.ended() {
            assert!(
                self.clock.elapsed(started) < PATIENCE,
                "it does not end\n{}",
                self.text()
            );
            self.pause(20);
        }
        self.pause(100);
        self.is_plain();
    }

    /// Whether the terminal edits and echoes lines, as it does for a shell.
    pub fn edits_lines(&self) -> bool {
        let flags = format!("{:?}", self.master.get_termios().unwrap().local_flags);
        flags.contains("ICANON") && flags.contains("ECHO ")
    }

    #[track_caller]
    pub fn is_plain(&self) {
        let heard = self.heard.lock().unwrap();
        let screen = heard.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "pastes are as they were");
        assert!(self.edits_lines(), "lines are edited and echoed again");
    }

    pub fn count(&self, sequence: &[u8]) -> usize {
        let heard = self.heard.lock().unwrap();
        heard
            .bytes
            .windows(sequence.len())
            .filter(|window| *window == sequence)
            .count()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
