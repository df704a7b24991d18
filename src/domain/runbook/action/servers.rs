//! The options of the actions on servers and programs: members of clusters, services, routes, requests, statements, messages.

use serde::{Deserialize, Serialize};

use super::Visit;
use crate::domain::job::Expectation;
use crate::domain::runbook::template::Template;

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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    /// Which of the servers that listen there; the only one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Template>,
    /// The database; that of the source or member when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Template>,
    /// The role on a server that listens in a directory; `postgres` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Template>,
}

impl Server {
    pub(in crate::domain::runbook) fn visit(&mut self, visit: Visit<'_>) {
        walk!(
            visit,
            self,
            [],
            [source, cluster, member, socket, port, database, user],
            []
        );
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [message], [url], [command]);
    }
}
