//! The console: what an on-call engineer sees and the only way their keys reach the engine.
//!
//! ```text
//!            Message                    Effect
//!  keys ────▶┐          ┌────────────┐  ┌──▶ ask the agent ──▶ Answered
//!  stream ──▶├─────────▶│   update    ├──┤
//!  second ──▶┘          └─────┬──────┘  └──▶ copy, save, suspend, quit
//!                             ▼
//!                     App ──▶ view ──▶ picture ──▶ FrameWriter ──▶ one write(2)
//! ```
//!
//! What this room promises: [`update::update`] is a pure function of the memory, a message and the moment, so every rule of
//! the console is tested without a terminal. A picture is drawn only after something happened, and written only where it
//! differs; a quiet console sends nothing. Losing the agent never ends the console: it says STALE and tries again. However
//! it ends, by key, signal or panic, the terminal is given back as it was.
//!
//! What it must never do: change anything but through a command somebody chose in the action menu (`a`) or the palette,
//! or said in the wizard of a runbook or in the search for a clean snapshot;
//! say by colour alone what matters; block on the terminal; show what it does not know as if it did.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `app` `place` `subject` `table` | the memory: places, things, rows with a cursor |
//! | `message` `update` `actions` `stream` `answers` `navigation` `loading` `operations` `servers` | how it changes |
//! | `runbooks` `wizard/*` | runbooks begun, and led |
//! | `finder` | the search for the last clean snapshot |
//! | `view` `screens/*` `widgets/*` `overlays/*` `canvas` `theme` `glyphs` `words` | how it looks |
//! | `keymap` `filter` | what hands type |
//! | `link` `client` | the way to the agent |
//! | `runtime` `terminal` `frame` `plain` `options` | the outside |

pub mod actions;
mod alerts;
pub mod answers;
pub mod app;
pub mod canvas;
pub mod client;
mod drills;
pub mod filter;
pub mod finder;
pub mod frame;
pub mod glyphs;
pub mod keeping;
mod kept_events;
pub mod keymap;
pub mod link;
pub mod loading;
pub mod message;
pub mod navigation;
pub mod operation;
pub mod operations;
pub mod options;
pub mod overlays;
pub mod place;
pub mod plain;
mod runbooks;
pub mod runtime;
pub mod screens;
pub mod servers;
pub mod stream;
pub mod subject;
pub mod table;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod widgets;
pub mod wizard;
pub mod words;

pub use options::{ExitNote, TuiError, TuiOptions};
pub use runtime::run;
