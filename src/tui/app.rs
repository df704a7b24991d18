//! What the console knows and shows: the whole of its memory. It is changed by `update` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::alert::AlertRecord;
use crate::domain::drill::DrillView;
use crate::domain::event::EventRecord;
use crate::domain::id::{JobName, RecoveryId, RunbookName, SnapshotId};
use crate::domain::recovery::RecoveryPlan;
use crate::domain::retention::Decision;
use crate::domain::run::RunRecord;
use crate::domain::runbook::{Runbook, RunbookRecord};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{JobView, Overview, RetentionPlan, StreamItem};
use crate::domain::{Millis, Timestamp};

use super::finder::Finder;
use super::glyphs::Glyphs;
use super::keymap::{Key, Keymap};
use super::overlays::Overlay;
use super::overlays::begin::Begin;
use super::place::{Pane, Place};
use super::screens::recoveries::RecoveryRow;
use super::screens::runbooks::RunbookRow;
use super::screens::topology::MemberRow;
use super::screens::tree::{Preview, TreeRow};
use super::subject::Subject;
use super::table::{Rows, Table};
use super::theme::Theme;
use super::wizard::Wizard;

/// After this long without a word from the agent, what is shown is called STALE.
pub const STALE_AFTER: Millis = Millis::from_secs(25);
/// An agent that has nothing to say says so every ten seconds; a little later than that is not worth a byte.
pub const QUIET_AFTER: Millis = Millis::from_secs(12);
/// How long a notice stays.
const NOTICE_STAYS: Millis = Millis::from_secs(8);
/// From this width on, list and detail stand side by side.
pub const WIDE: u16 = 100;

/// What does not change while the console runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether changes are refused on this side already.
    pub read_only: bool,
    /// Whether the agent is this same process, so that leaving ends its work.
    pub embedded: bool,
    /// Who sits here, as the journal has it.
    pub me: String,
    /// What the sandbox can break for practice, and what cures it.
    pub incidents: Vec<(String, String)>,
    /// How roles look.
    pub theme: Theme,
    /// The glyphs the terminal is trusted with.
    pub glyphs: Glyphs,
    /// Which keys do what.
    pub keymap: Keymap,
}

/// How the console stands with the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Not yet heard.
    Connecting,
    /// The stream is open.
    Open,
    /// The stream is gone: why, and when the next try is.
    Lost {
        why: String,
        hint: Option<String>,
        retry_at: Millis,
    },
}

/// A line that comes and goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub bad: bool,
    /// When it was said.
    pub at: Millis,
}

/// The memory of the console.
#[derive(Debug)]
pub struct App {
    /// What does not change.
    pub settings: Settings,
    /// The agent's wall clock, as near as this side can tell.
    pub now: Timestamp,
    /// How far the agent's clock is ahead of this machine's.
    pub(super) clock_ahead: chrono::Duration,
    /// Time since the console began.
    pub uptime: Millis,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),

    /// The latest picture.
    pub overview: Option<Overview>,
    /// How the console stands with the agent.
    pub contact: Contact,
    /// When the agent was last heard.
    pub heard_at: Option<Millis>,
    /// What came while the screen was held still; none when it is not.
    pub held: Option<Vec<Arc<StreamItem>>>,

    /// What the body shows.
    pub place: Place,
    /// Places before it, and after it when one has gone back.
    pub(super) back: Vec<Place>,
    pub(super) forward: Vec<Place>,
    /// The view before this one.
    pub(super) last: Option<Place>,
    /// Which pane the keys go to.
    pub pane: Pane,
    /// Whether one pane has the whole width.
    pub zoomed: bool,
    /// The first line shown of the detail.
    pub scroll: usize,
    /// What lies over the body.
    pub overlay: Option<Overlay>,
    /// What was last said.
    pub notice: Option<Notice>,
    /// The first key of a chord.
    pub pending: Option<Key>,

    /// Whether the console is to stop as soon as the keys that came together have been taken in.
    pub(super) suspend_asked: bool,

    /// The row of the Overview the cursor is on.
    pub focus: Option<Subject>,
    /// The jobs.
    pub jobs: Table<JobView>,
    /// The runs of the job that is open.
    pub runs: Table<RunRecord>,
    /// Whose runs these are.
    pub runs_of: Option<JobName>,
    /// The snapshots.
    pub snapshots: Table<SnapshotRecord>,
    /// The snapshots in the trash.
    pub trash: Table<SnapshotRecord>,
    /// What becomes of the snapshots of the job whose retention is open.
    pub retention: Table<Decision>,
    /// The plan these are from.
    pub retention_plan: Option<RetentionPlan>,
    /// The directory that is open.
    pub tree: Table<TreeRow>,
    /// Which directory of which snapshot that is.
    pub tree_of: Option<(SnapshotId, String)>,
    /// The entry the cursor lands on when the directory is here.
    pub(super) tree_child: Option<String>,
    /// The file that was last looked into.
    pub preview: Option<Preview>,
    /// The search for a clean snapshot that was opened last.
    pub finder: Finder,
    /// The recoveries, live ones included.
    pub recoveries: Table<RecoveryRow>,
    /// The plan that was confirmed last: the recovery it begins is shown with it.
    pub(super) confirmed: Option<RecoveryPlan>,
    /// Recoveries whose server waits and that were asked for because no page has them.
    pub(super) servers_asked: BTreeSet<RecoveryId>,
    /// The drills.
    pub drills: Table<DrillView>,
    /// The runbooks, and their executions that are under way.
    pub runbooks: Table<RunbookRow>,
    /// Their documents, as far as they were asked for.
    pub documents: BTreeMap<RunbookName, Runbook>,
    /// Documents that were asked for, with the version that was wanted.
    pub(super) documents_asked: BTreeSet<(RunbookName, String)>,
    /// Executions that have ended.
    pub executions: Table<RunbookRecord>,
    /// What the wizard remembers of the execution it shows.
    pub wizard: Wizard,
    /// What was just asked to begin, in case that is refused.
    pub(super) begun: Option<Box<Begin>>,
    /// A recovery that was just begun, until it is in the list.
    pub(super) awaited: Option<RecoveryId>,
    /// Plans by the recovery they began, as far as this console has asked for them.
    pub plans: BTreeMap<RecoveryId, RecoveryPlan>,
    /// The alerts.
    pub alerts: Table<AlertRecord>,
    /// The journal.
    pub audit: Table<EventRecord>,
    /// The members of the clusters.
    pub topology: Table<MemberRow>,
    /// When they were last asked for.
    pub(super) topology_asked: Option<Millis>,
}

impl App {
    /// A console that knows nothing yet.
    pub fn new(settings: Settings, now: Timestamp, size: (u16, u16)) -> Self {
        Self {
            settings,
            now,
            clock_ahead: chrono::Duration::zero(),
            uptime: Millis(0),
            size,
            overview: None,
            contact: Contact::Connecting,
            heard_at: None,
            held: None,
            place: Place::Overview,
            back: Vec::new(),
            forward: Vec::new(),
            last: None,
            pane: Pane::List,
            zoomed: false,
            scroll: 0,
            overlay: None,
            notice: None,
            pending: None,
            suspend_asked: false,
            focus: None,
            jobs: Table::default(),
            runs: Table::default(),
            runs_of: None,
            snapshots: Table::default(),
            trash: Table::default(),
            retention: Table::default(),
            retention_plan: None,
            tree: Table::default(),
            tree_of: None,
            tree_child: None,
            preview: None,
            finder: Finder::default(),
            recoveries: Table::default(),
            confirmed: None,
            servers_asked: BTreeSet::new(),
            drills: Table::default(),
            runbooks: Table::default(),
            documents: BTreeMap::new(),
            documents_asked: BTreeSet::new(),
            executions: Table::default(),
            wizard: Wizard::default(),
            begun: None,
            awaited: None,
            plans: BTreeMap::new(),
            alerts: Table::default(),
            audit: Table::default(),
            topology: Table::default(),
            topology_asked: None,
        }
    }

    /// Whether list and detail stand side by side.
    pub fn is_wide(&self) -> bool {
        self.size.0 >= WIDE
    }

    /// Whether nothing here may be changed, by this side's settings or by the agent's.
    pub fn is_read_only(&self) -> bool {
        self.settings.read_only || self.overview.as_ref().is_some_and(|overview| overview.read_only)
    }

    /// How long nothing was heard of the agent.
    pub fn silence(&self) -> Option<Millis> {
        self.heard_at.map(|at| Millis(self.uptime.0.saturating_sub(at.0)))
    }

    /// Whether what is shown may no longer be true.
    pub fn is_stale(&self) -> bool {
        self.contact != Contact::Open || self.silence().is_none_or(|silence| silence >= STALE_AFTER)
    }

    /// Why nothing can be changed now; none when it can.
    pub fn why_locked(&self) -> Option<String> {
        if self.is_read_only() {
            Some("this console is read-only".to_owned())
        } else if self.is_stale() {
            Some("there is no contact with the agent".to_owned())
        } else {
            None
        }
    }

    /// Says something for a while.
    pub fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            bad: false,
            at: self.uptime,
        });
    }

    /// Says for a while that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            bad: true,
            at: self.uptime,
        });
    }

    /// The notice, while it lasts.
    pub fn current_notice(&self) -> Option<&Notice> {
        self.notice
            .as_ref()
            .filter(|notice| self.uptime.0 < notice.at.0 + NOTICE_STAYS.0)
    }

    /// The table the keys go to; none on the Overview.
    pub fn rows(&self) -> Option<&dyn Rows> {
        Some(match self.place {
            Place::Overview | Place::Wizard(_) => return None,
            Place::Runbooks => &self.runbooks,
            Place::Executions => &self.executions,
            Place::Jobs => &self.jobs,
            Place::Job(_) => &self.runs,
            Place::Snapshots => &self.snapshots,
            Place::Trash => &self.trash,
            Place::Retention(_) => &self.retention,
            Place::Tree(..) => &self.tree,
            Place::Finder(_) => &self.finder.rows,
            Place::Recoveries => &self.recoveries,
            Place::Drills => &self.drills,
            Place::Alerts => &self.alerts,
            Place::Audit => &self.audit,
            Place::Topology => &self.topology,
        })
    }

    /// The table the keys go to, to be changed.
    pub fn rows_mut(&mut self) -> Option<&mut dyn Rows> {
        Some(match self.place {
            Place::Overview | Place::Wizard(_) => return None,
            Place::Runbooks => &mut self.runbooks,
            Place::Executions => &mut self.executions,
            Place::Jobs => &mut self.jobs,
            Place::Job(_) => &mut self.runs,
            Place::Snapshots => &mut self.snapshots,
            Place::Trash => &mut self.trash,
            Place::Retention(_) => &mut self.retention,
            Place::Tree(..) => &mut self.tree,
            Place::Finder(_) => &mut self.finder.rows,
            Place::Recoveries => &mut self.recoveries,
            Place::Drills => &mut self.drills,
            Place::Alerts => &mut self.alerts,
            Place::Audit => &mut self.audit,
            Place::Topology => &mut self.topology,
        })
    }

    /// How many rows of a list fit the body.
    pub fn page_rows(&self) -> usize {
        usize::from(self.size.1.saturating_sub(6)).max(1)
    }

    /// The job of that name.
    pub fn job(&self, name: &JobName) -> Option<&JobView> {
        self.overview.as_ref()?.jobs.iter().find(|job| job.name == *name)
    }

    /// The name people know the agent by.
    pub fn agent_host(&self) -> String {
        self.overview.as_ref().map_or_else(
            || "the agent's machine".to_owned(),
            |overview| overview.agent.host.clone(),
        )
    }
}
