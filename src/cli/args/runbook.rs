//! `lifeboat runbook`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `lifeboat runbook`.
#[derive(Debug, Clone, Subcommand)]
pub enum RunbookCommand {
    /// Show the runbooks, whether they could be begun now, and how they last ended
    List,
    /// Print the document of a runbook
    Show {
        /// Its name
        name: String,
    },
    /// Ask now whether a runbook could be begun, and why not
    Ready {
        /// Its name
        name: String,
    },
    /// Show every command a run would carry out, and what its checks come to now; does nothing
    Plan(BeginArgs),
    /// Begin a run, and go through it
    Run(RunArgs),
    /// Go on with a run: show where it is, and ask what it needs
    Resume(OfRun),
    /// Show where runs are that have not ended
    Status {
        /// The run; all when absent
        run: Option<String>,
    },
    /// Say go to a step, or that it was done by hand
    Go {
        /// The run
        run: String,
        /// The step; the one that waits when absent
        step: Option<String>,
        /// What the step wants typed
        #[arg(long, value_name = "NAME")]
        typed: Option<String>,
    },
    /// Ask the checks of a step again
    Recheck(OfStep),
    /// Agree to a step that needs somebody's word
    Approve(OfStep),
    /// Set the checks of a step aside that do not hold
    Override(OfStepBecause),
    /// Pass a step over
    Skip(OfStepBecause),
    /// Do a step again that failed or is in doubt
    Retry(OfStep),
    /// Say that a step in doubt was done
    Done(OfStepBecause),
    /// Say a value
    Set {
        /// The run
        run: String,
        /// The value
        #[arg(value_name = "NAME=VALUE")]
        value: String,
    },
    /// Begin nothing new until somebody resumes it
    Pause(OfRunBecause),
    /// Let a paused run go on
    Unpause(OfRun),
    /// Lead a run from here on
    Take(OfRunBecause),
    /// End a run before its time, and show what was done and what can be taken back
    Abort {
        /// The run
        run: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Take back what was done, the last first
        #[arg(long)]
        undo: bool,
    },
    /// Try again to take a step back, or let it be
    Undo {
        /// The run
        run: String,
        /// The step
        step: String,
        /// Let it be, because
        #[arg(long, value_name = "REASON")]
        leave: Option<String>,
    },
    /// Print the report of a run that has ended
    Report {
        /// The run, or a runbook for its last one
        run: String,
        /// Write it to a file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Show runs that have ended
    History,
}

/// What a run is begun with.
#[derive(Debug, Clone, Args)]
pub struct BeginArgs {
    /// The runbook
    pub name: String,
    /// For practice: steps that change something are only said, unless they say otherwise
    #[arg(long)]
    pub drill: bool,
    /// Say a value, any number of times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// What a run is begun with, and how it goes on.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What it is begun with.
    #[command(flatten)]
    pub begin: BeginArgs,
    /// Ask nothing: say go and agree to every step, as one person, and type every name; a check that does not hold ends it.
    /// What is done by hand, and a second engineer's word, are waited for
    #[arg(long)]
    pub yes: bool,
    /// When the incident began; the time counts from there
    #[arg(long, value_name = "TIME")]
    pub incident: Option<String>,
    /// Only begin it
    #[arg(long)]
    pub no_wait: bool,
}

/// A run.
#[derive(Debug, Clone, Args)]
pub struct OfRun {
    /// The run; the only one when absent
    pub run: Option<String>,
}

/// A run, and why.
#[derive(Debug, Clone, Args)]
pub struct OfRunBecause {
    /// The run
    pub run: String,
    /// Why
    #[arg(long)]
    pub reason: String,
}

/// A step of a run.
#[derive(Debug, Clone, Args)]
pub struct OfStep {
    /// The run
    pub run: String,
    /// The step; the one that waits when absent
    pub step: Option<String>,
}

/// A step of a run, and why.
#[derive(Debug, Clone, Args)]
pub struct OfStepBecause {
    /// The run
    pub run: String,
    /// The step; the one that waits when absent
    pub step: Option<String>,
    /// Why
    #[arg(long)]
    pub reason: String,
}
