//! What a step does: one kind of action each, with what it needs to know.
//!
//! Everything that may be filled in is a [`Template`], and [`Action::visit`] walks over all of them: the same walk finds what a
//! step refers to, renames it when a runbook becomes part of another, and puts the values in.

use serde::{Deserialize, Serialize};

use super::template::{Template, Values};
use crate::domain::job::Expectation;
use crate::domain::snapshot::EvidenceLevel;

/// Sees every template of something, with the name of its option.
pub type Visit<'v> = &'v mut dyn FnMut(&'static str, &mut Template);

macro_rules! walk {
    ($visit:expr, $self:expr, [$($one:ident),*], [$($maybe:ident),*], [$($many:ident),*]) => {{
        $($visit(stringify!($one), &mut $self.$one);)*
        $($self.$maybe.iter_mut().for_each(|template| $visit(stringify!($maybe), template));)*
        $($self.$many.iter_mut().for_each(|template| $visit(stringify!($many), template));)*
    }};
}

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

/// An action without options.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Nothing {
    #[expect(clippy::unused_self, reason = "called like that of every other action")]
    fn visit(&mut self, _: Visit<'_>) {}
}

/// What a person does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// The instruction.
    pub instruction: Template,
}

impl Manual {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [instruction], [], []);
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long; until the checks of the step hold when absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<Template>,
}

impl Wait {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [], [length], []);
    }
}

/// A value somebody decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choose {
    /// The variable that gets the value.
    pub variable: String,
    /// What to consider.
    pub question: Template,
}

impl Choose {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [question], [], []);
    }
}

/// What another person agrees to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The question.
    pub question: Template,
}

impl Approve {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [question], [], []);
    }
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Its name.
    pub job: Template,
}

impl Backup {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [job], [], []);
    }
}

/// A snapshot that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Its id, or `latest:SOURCE`.
    pub snapshot: Template,
    /// The directory, or the name of the new database.
    pub target: Template,
    /// Only these paths, or tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Template>,
    /// Whether what is in the target already is compared and kept where it is the same.
    #[serde(default)]
    pub delta: bool,
}

impl Restore {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [snapshot, target], [], [include]);
    }
}

/// A recovery to an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// The source.
    pub source: Template,
    /// The instant: a time, an LSN, a transaction, a named point, or `latest`.
    pub to: Template,
    /// The directory of the new server.
    pub target: Template,
}

impl Recover {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [source, to, target], [], []);
    }
}

/// A snapshot that is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Its id, or `latest:SOURCE`.
    pub snapshot: Template,
    /// How far.
    pub level: EvidenceLevel,
}

impl Verify {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [snapshot], [], []);
    }
}

/// A drill that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Its name in the configuration.
    #[serde(rename = "name")]
    pub drill: Template,
}

impl Drill {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [drill], [], []);
    }
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfMember {
    /// The cluster.
    pub cluster: Template,
    /// The member.
    pub member: Template,
    /// `true`: somebody vouches that this member, which does not answer, is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Template>,
    /// `true`: a server that does not answer and is at work on this machine is stopped by its service before it is fenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Template>,
    /// `true`: where nobody knows the end of the old primary's log, what the standby has received is replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Template>,
}

impl OfMember {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [cluster, member], [gone, stop, received], []);
    }
}

/// A promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The cluster.
    pub cluster: Template,
    /// The standby.
    pub member: Template,
    /// How many bytes of log may be lost; what the cluster's definition says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_loss: Option<Template>,
}

impl Promote {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [cluster, member], [allow_loss], []);
    }
}

/// A member that follows the new primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewind {
    /// The cluster.
    pub cluster: Template,
    /// The member.
    pub member: Template,
    /// Whether it is copied anew instead of rewound.
    #[serde(default)]
    pub clone: bool,
}

impl Rewind {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [cluster, member], [], []);
    }
}

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceDo {
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// It is stopped and started.
    Restart,
}

impl ServiceDo {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// A service that is started or stopped; either a member of a cluster, or a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What is done.
    #[serde(rename = "do")]
    pub act: ServiceDo,
    /// A unit of systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Template>,
    /// A cluster, with `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Template>,
    /// A member of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Template>,
}

impl Service {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [], [unit, cluster, member], []);
    }
}

/// Where clients are sent; by a program or by a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What is routed where, for people.
    pub to: Template,
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Template>,
    /// The address a request is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Template>,
    /// The method of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Template>,
    /// The body of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
}

impl Route {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [to], [url, method, body], [command]);
    }
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments; with `shell`, one line.
    pub command: Vec<Template>,
    /// Whether the line is handed to `sh -c`. Values are then in the environment only, as `LIFEBOAT_NAME`.
    #[serde(default)]
    pub shell: bool,
}

impl Program {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [], [], [command]);
    }
}

/// A request that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where to.
    pub url: Template,
    /// `GET` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Template>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// The answer that is a success; 200 to 299 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Request {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [url], [method, body], []);
    }
}

/// The server a statement goes to: a source's, a member's, or one that listens in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The server of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Template>,
    /// A cluster, with `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Template>,
    /// A member of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Template>,
    /// A directory with the socket of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<Template>,
    /// The database; that of the source or member when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Template>,
    /// The role on a server that listens in a directory; `postgres` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Template>,
}

impl Server {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [], [source, cluster, member, socket, database, user], []);
    }

    /// The server in a few words.
    pub fn words(&self) -> String {
        let base = match (&self.source, &self.member, &self.socket) {
            (Some(source), _, _) => format!("source {}", source.text()),
            (_, Some(member), _) => member.text(),
            (_, _, Some(socket)) => socket.text(),
            _ => "nowhere".to_owned(),
        };
        match &self.database {
            Some(database) => format!("{base}, database {}", database.text()),
            None => base,
        }
    }
}

/// A statement that is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// Where.
    pub at: Server,
    /// The statement; values in it say how they are quoted.
    pub statement: Template,
    /// The answer that is a success; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
}

impl Sql {
    fn visit(&mut self, visit: Visit<'_>) {
        self.at.visit(visit);
        walk!(visit, self, [statement], [], []);
    }
}

/// People who are told; by a program or by a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// What they are told.
    pub message: Template,
    /// A program that gets the message on its standard input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Template>,
    /// An address the message is posted to, as `{"text": …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Template>,
}

impl Notify {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [message], [url], [command]);
    }
}

/// A search for the last snapshot before something bad happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindClean {
    /// The job whose snapshots are looked through.
    pub job: Template,
}

impl FindClean {
    fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [job], [], []);
    }
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

    /// The values a step of this kind finds out, which later steps may use as `{step.NAME}`.
    pub const fn outputs(&self) -> &'static [&'static str] {
        match self {
            Self::Backup(_) => &["snapshot", "run"],
            Self::Restore(_) => &["recovery", "written"],
            Self::Recover(_) => &["recovery", "socket", "port", "user", "psql"],
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
