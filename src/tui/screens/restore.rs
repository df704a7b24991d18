//! Restore: from a snapshot to a plan, and only from a plan to the restore.
//!
//! ```text
//!  Restore snapshot 9c41e0a2 of orders-db           step 1 of 2: where to
//!    Into      > a new database      a directory
//!    Database    orders_restored_1120_1041
//!    Server      (the source's own)
//!    Reason      INC-77
//!                                            Enter shows the plan, nothing starts
//! ```
//!
//! The plan says what is read, written and overwritten, how long it should take and what stands in the way. What starts
//! is bound to the plan that was shown: when the world has moved on since, the agent refuses.

mod draw;
mod goal;

use std::path::PathBuf;

pub use self::draw::draw;
pub use self::goal::Goal;
use crate::domain::recovery::{RecoveryPlan, RecoveryRequest, RecoveryTarget};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::tui::app::App;
use crate::tui::link::Trouble;
use crate::tui::widgets::input::Input;

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormField {
    /// A database or a directory.
    Into,
    /// The directory.
    Directory,
    /// Whether existing files are compared.
    Delta,
    /// The database.
    Database,
    /// The server.
    Server,
    /// Whether it goes on behind the snapshot of a cluster.
    GoOn,
    /// The instant.
    Instant,
    /// The instant, picked on a line.
    Pick,
    /// What happens there.
    Then,
    /// Why.
    Reason,
}

/// Where the plan stands.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanState {
    /// The form is being filled in.
    None,
    /// Asked for.
    Asked,
    /// Here.
    Here(Box<RecoveryPlan>),
    /// Could not be made.
    Failed(Trouble),
}

/// A restore being prepared.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The snapshot.
    pub snapshot: SnapshotRecord,
    /// Paths in it; all of it when empty.
    pub paths: Vec<String>,
    /// Whether it goes into a database.
    pub database: bool,
    directory: Input,
    delta: bool,
    name: Input,
    server: Input,
    reason: Input,
    goal: Option<Goal>,
    /// Which field the keys go to.
    pub at: FormField,
    /// What is wrong with the form.
    pub complaint: Option<String>,
    /// The plan.
    pub plan: PlanState,
    /// The first line of the plan that is shown.
    pub scroll: usize,
}

impl Restore {
    /// A form for a snapshot, filled in with a target that does not exist yet.
    pub fn new(app: &App, snapshot: SnapshotRecord, paths: Vec<String>) -> Self {
        let stamp = app.now.format("%m%d_%H%M");
        let database = snapshot.database.as_ref().filter(|_| paths.is_empty());
        let name = database.map_or(String::new(), |facts| format!("{}_restored_{stamp}", facts.name));
        let whole = snapshot.cluster.is_some() && paths.is_empty();
        let mut seen = app.overview.iter().flat_map(|overview| &overview.logs);
        let sight = seen.find(|sight| Some(&sight.source) == snapshot.source.as_ref());
        let goal = whole.then(|| Goal::new(sight.cloned(), app.now));
        Self {
            database: database.is_some(),
            directory: Input::with(format!("/var/tmp/restore-{}", snapshot.id.short())),
            name: Input::with(name),
            at: FormField::Into,
            snapshot,
            paths,
            delta: false,
            server: Input::default(),
            goal,
            reason: Input::default(),
            complaint: None,
            plan: PlanState::None,
            scroll: 0,
        }
        .started()
    }

    fn started(mut self) -> Self {
        self.at = self.fields()[usize::from(!self.can_choose())];
        self
    }

    fn can_choose(&self) -> bool {
        self.snapshot.database.is_some() && self.paths.is_empty()
    }

    /// The fields the form has now, in order.
    pub fn fields(&self) -> Vec<FormField> {
        if self.database {
            vec![
                FormField::Into,
                FormField::Database,
                FormField::Server,
                FormField::Reason,
            ]
        } else {
            let mut fields = vec![FormField::Into, FormField::Directory, FormField::Delta];
            match &self.goal {
                Some(goal) if goal.on => {
                    fields.extend([FormField::GoOn, FormField::Instant, FormField::Pick, FormField::Then]);
                }
                Some(_) => fields.push(FormField::GoOn),
                None => {}
            }
            fields.push(FormField::Reason);
            fields
        }
    }

    /// Moves to another field.
    pub fn step(&mut self, by: isize) {
        let fields = self.fields();
        let here = fields.iter().position(|field| *field == self.at).unwrap_or(0);
        let count = isize::try_from(fields.len()).unwrap_or(1);
        let next = (isize::try_from(here).unwrap_or(0) + by).rem_euclid(count);
        self.at = fields[usize::try_from(next).unwrap_or(0)];
        if self.at == FormField::Into && !self.can_choose() {
            self.step(by.signum());
        }
    }

    /// The text field the keys go to.
    pub fn input(&mut self) -> Option<&mut Input> {
        match self.at {
            FormField::Directory => Some(&mut self.directory),
            FormField::Database => Some(&mut self.name),
            FormField::Server => Some(&mut self.server),
            FormField::Reason => Some(&mut self.reason),
            FormField::Instant => self.goal.as_mut().map(|goal| &mut goal.text),
            FormField::Into | FormField::Delta | FormField::GoOn | FormField::Pick | FormField::Then => None,
        }
    }

    /// Turns the switch the keys go to.
    pub fn toggle(&mut self) {
        match self.at {
            FormField::Into if self.can_choose() => self.database = !self.database,
            FormField::Delta => self.delta = !self.delta,
            FormField::GoOn => self.goal.iter_mut().for_each(|goal| goal.on = !goal.on),
            FormField::Then => self.goal.iter_mut().for_each(|goal| goal.open = !goal.open),
            _ => {}
        }
    }

    /// Moves the instant on its line.
    pub fn nudge(&mut self, minutes: i64) {
        if let Some(goal) = &mut self.goal {
            goal.nudge(minutes);
        }
    }

    /// What the form asks for.
    ///
    /// # Errors
    /// A sentence that says what is missing or wrong.
    pub fn request(&self) -> Result<RecoveryRequest, String> {
        let reason = Some(self.reason.text().trim().to_owned()).filter(|reason| !reason.is_empty());
        Ok(RecoveryRequest {
            snapshot: self.snapshot.id.clone(),
            repository: self.snapshot.repository.clone(),
            target: self.target()?,
            instant: self.goal.as_ref().map_or(Ok(None), Goal::wish)?.map(Box::new),
            reason,
            plan_digest: None,
        })
    }

    fn target(&self) -> Result<RecoveryTarget, String> {
        if self.database {
            let database = self.name.text().trim().to_owned();
            if database.is_empty() {
                return Err("the new database needs a name".to_owned());
            }
            return Ok(RecoveryTarget::Database {
                connection: server(self.server.text())?,
                database,
                how: Box::default(),
            });
        }
        let path = PathBuf::from(self.directory.text().trim());
        if !path.is_absolute() {
            return Err("the directory must be absolute: it is made by the agent, not by this console".to_owned());
        }
        Ok(RecoveryTarget::Directory {
            path,
            include: self.paths.clone(),
            subpath: None,
            delta: self.delta,
            quick: false,
            tablespaces: Vec::new(),
        })
    }
}

/// Reads `user@host:port`; empty is the source's own server.
fn server(text: &str) -> Result<Option<PostgresConnection>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let expected = || format!("\"{text}\" is not a server; write user@host:port");
    let (user, place) = text.split_once('@').ok_or_else(expected)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().map_err(|_| expected())?;
    if user.is_empty() || host.is_empty() {
        return Err(expected());
    }
    Ok(Some(PostgresConnection {
        host: host.to_owned(),
        port,
        user: user.to_owned(),
        password: None,
        tls: TlsMode::Prefer,
        bin_dir: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_or_refused_with_a_sentence() {
        assert_eq!(server("").unwrap(), None);
        let read = server("ana@db1.internal:5433").unwrap().unwrap();
        assert_eq!(
            (read.user.as_str(), read.host.as_str(), read.port),
            ("ana", "db1.internal", 5433)
        );
        for bad in ["db1", "ana@db1", "@db1:1", "ana@:1", "ana@db1:x"] {
            assert!(server(bad).unwrap_err().contains("user@host:port"), "{bad}");
        }
    }
}
