//! What can happen to the console, and what it may ask the outside to do. Between the two there is only `update`.

use std::sync::Arc;

use crossterm::event::KeyEvent;

use super::link::{Answer, Question, Trouble};
use crate::domain::view::StreamItem;
use crate::domain::{Millis, Timestamp};

/// When a message is looked at: the wall clock, and a clock that is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The machine's wall clock.
    pub wall: Timestamp,
    /// Time since the console began.
    pub uptime: Millis,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has a new size.
    Resized(u16, u16),
    /// A second has passed.
    Second,
    /// The live stream is open.
    Attached,
    /// The live stream brought something.
    Stream(Arc<StreamItem>),
    /// There is no live stream; the next try comes after this long.
    Detached(Trouble, Millis),
    /// An answer came.
    Answered(Box<(Question, Result<Answer, Trouble>)>),
    /// A file was written, or not.
    Saved(Result<String, String>),
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the agent.
    Ask(Question),
    /// Put text into the clipboard of the terminal (OSC 52).
    Copy(String),
    /// Write text to a new file in the working directory.
    Save(String, String),
    /// Stop this process as the shell expects, and come back.
    Suspend,
    /// Draw everything again.
    Repaint,
    /// Leave.
    Quit {
        /// Whether the text of the screen stays on the terminal, for a ticket.
        leave_screen: bool,
    },
}
