//! What a step does: one kind of action each, with what it needs to know.
//!
//! Everything that may be filled in is a [`Template`], and [`Action::visit`] walks over all of them: the same walk finds what a
//! step refers to, renames it when a runbook becomes part of another, and puts the values in.

use serde::{Deserialize, Serialize};

use super::template::{Template, Values};

/// Sees every template of something, with the name of its option.
pub type Visit<'v> = &'v mut dyn FnMut(&'static str, &mut Template);

macro_rules! walk {
    ($visit:expr, $self:expr, [$($one:ident),*], [$($maybe:ident),*], [$($many:ident),*]) => {{
        $($visit(stringify!($one), &mut $self.$one);)*
        $($self.$maybe.iter_mut().for_each(|template| $visit(stringify!($maybe), template));)*
        $($self.$many.iter_mut().for_each(|template| $visit(stringify!($many), template));)*
    }};
}

mod data;
mod servers;

pub use data::{Approve, Backup, Choose, Drill, FindClean, Manual, Nothing, Recover, Restore, Verify, Wait};
pub use servers::{Notify, OfMember, Program, Promote, Request, Rewind, Route, Server, Service, ServiceDo, Sql};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident($options:ident) = $word:literal),+ $(,)?) => {
        /// What a step does.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Action {
            $($(#[$doc])* $variant($options),)+
        }

        impl Action {
            /// Every kind, as it is written.
            pub const KINDS: &'static [&'static str] = &[$($word),+];

            /// The kind, as it is written.
            pub const fn word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word,)+ }
            }

            /// Walks over all templates.
            pub fn visit(&mut self, visit: Visit<'_>) {
                match self { $(Self::$variant(options) => options.visit(visit),)+ }
            }
        }
    };
}

actions! {
    /// A person does something and says when it is done.
    Manual(Manual) = "manual",
    /// Nothing is done; the checks of the step are what it is about.
    Check(Nothing) = "check",
    /// Waits for a length of time, or until the checks of the step hold.
    Wait(Wait) = "wait",
    /// Somebody decides on a value.
    Choose(Choose) = "choose",
    /// Another person agrees.
    Approve(Approve) = "approve",
    /// A job runs now.
    Backup(Backup) = "backup",
    /// A snapshot is restored.
    Restore(Restore) = "restore",
    /// A cluster is recovered to an instant, into a server of its own.
    Recover(Recover) = "recover",
    /// A snapshot is proved.
    Verify(Verify) = "verify",
    /// A drill is done.
    Drill(Drill) = "drill",
    /// Writers are kept from a member of a cluster, proved.
    Fence(OfMember) = "fence",
    /// Writers are let in again.
    Unfence(OfMember) = "unfence",
    /// A standby has replayed all that was committed before the fence.
    Replay(OfMember) = "replay",
    /// A standby becomes the primary.
    Promote(Promote) = "promote",
    /// A member follows the new primary.
    Rewind(Rewind) = "rewind",
    /// A server of a cluster, a unit of the system or a command is started or stopped.
    Service(Service) = "service",
    /// Where the clients go is changed.
    Route(Route) = "route",
    /// A program runs.
    Command(Program) = "command",
    /// A request is sent.
    Http(Request) = "http",
    /// A statement is carried out.
    Sql(Sql) = "sql",
    /// People are told.
    Notify(Notify) = "notify",
    /// The last snapshot before something bad happened is looked for.
    FindClean(FindClean) = "find-clean",
}

/// Puts the values into everything that `walk` walks over; the name of the first that is not known stays the error.
pub(super) fn put_in(values: &Values, walk: impl FnOnce(Visit<'_>)) -> Result<(), String> {
    let mut missing = None;
    walk(&mut |_, template| match template.resolve(values) {
        Ok(text) => *template = Template::plain(text),
        Err(name) => {
            missing.get_or_insert(name);
        }
    });
    missing.map_or(Ok(()), Err)
}

impl Action {
    /// The action with all values in place.
    ///
    /// # Errors
    /// The name of the first value that is not known.
    pub fn resolved(&self, values: &Values) -> Result<Self, String> {
        let mut action = self.clone();
        put_in(values, |visit| action.visit(visit))?;
        Ok(action)
    }

    /// The action with the values that are known in place, to be shown.
    #[must_use]
    pub fn filled(&self, values: &Values) -> Self {
        let mut action = self.clone();
        action.visit(&mut |_, template| *template = template.filled(values));
        action
    }

    /// The values a step of this kind finds out, which later steps may use as `{step.NAME}`.
    pub const fn outputs(&self) -> &'static [&'static str] {
        match self {
            Self::Backup(_) => &["snapshot", "run"],
            Self::Restore(_) => &["recovery", "written", "point"],
            Self::Recover(_) => &["recovery", "point", "socket", "port", "user", "psql"],
            Self::Verify(_) | Self::Drill(_) => &["recovery"],
            Self::Fence(_) => &["lsn"],
            Self::Promote(_) => &["timeline", "lost"],
            Self::Wait(_) => &["held"],
            Self::Command(_) | Self::Sql(_) => &["output"],
            Self::Http(_) => &["status", "output"],
            Self::FindClean(_) => &["snapshot", "time"],
            Self::Choose(_) => &["value"],
            _ => &[],
        }
    }

    /// Whether a person has to do something before it can end.
    pub const fn needs_a_person(&self) -> bool {
        matches!(self, Self::Manual(_) | Self::Choose(_) | Self::Approve(_))
    }

    /// Whether the engine keeps a record of what it begins, which settles a doubt about it.
    pub const fn leaves_a_record(&self) -> bool {
        matches!(self, Self::Restore(_) | Self::Recover(_))
    }

    /// Whether it changes nothing, so that it is done without being asked for and in every drill.
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Check(_) | Self::Wait(_) | Self::Verify(_) | Self::Drill(_) | Self::FindClean(_) | Self::Replay(_)
        )
    }
}
