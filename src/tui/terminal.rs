//! The terminal: taken over whole, and given back as it was, however the console ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether something panicked since; then nothing more is drawn over what the panic said.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Alternate screen, no cursor, pastes bracketed. Nothing is asked of the terminal, so nothing is waited for.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";
/// All of it undone, a frame that was cut off included.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// The terminal while the console has it; dropping it gives it back.
#[derive(Debug)]
pub struct Terminal {
    out: File,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When standard output is not a terminal, or is gone.
    pub fn enter() -> io::Result<Self> {
        give_back_on_panic();
        // A file of our own instead of `stdout`: that one splits what it is given at line ends.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        take(&mut out)?;
        Ok(Self { out })
    }

    /// Another handle on the same terminal, for frames.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn writer(&self) -> io::Result<File> {
        self.out.try_clone()
    }

    /// Takes the terminal over again after somebody else had it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn again(&mut self) -> io::Result<()> {
        take(&mut self.out)
    }

    /// Gives the terminal back, stops as the shell expects, and takes it over again when continued.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // The whole foreground group stops, as it would for a plain Ctrl-Z, so a shell sees its job stopped even when it
        // started us through another program. Our own handler catches the gentle signal; the second one cannot be caught.
        let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
        let _ = raise(Signal::SIGSTOP);
        take(&mut self.out)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether something panicked since the terminal was taken.
pub fn has_panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

fn take(out: &mut File) -> io::Result<()> {
    crossterm::terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    out.write_all(ENTER)
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The terminal may be gone; then there is nobody left to tell.
        let mut out = io::stdout();
        let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Makes every panic, in whatever task, give the terminal back before it is reported.
fn give_back_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if TAKEN.load(Ordering::SeqCst) {
                PANICKED.store(true, Ordering::SeqCst);
                give_back();
            }
            before(info);
        }));
    });
}
