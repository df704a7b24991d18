//! `lifeboat doctor`: what would keep a backup or a restore from working, each finding with its remedy.
//!
//! It looks for itself and asks the agent, but never starts one: that none is running is a finding.

mod live;
mod local;
mod remote;

use serde::Serialize;

use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// To be looked at.
    Warning,
    /// Something will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    level: Level,
    /// What was looked at.
    what: String,
    /// What was seen.
    detail: String,
    /// What to do.
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            what: what.into(),
            detail: detail.into(),
            remedy: None,
        }
    }

    fn warning(what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(what, detail)
        }
    }

    fn problem(what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            remedy: Some(remedy.into()),
            ..Self::ok(what, detail)
        }
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Findings(Vec<Finding>);

impl Render for Findings {
    fn text(&self, out: &mut Text) {
        for finding in &self.0 {
            let (paint, mark) = match finding.level {
                Level::Ok => (Paint::Good, " ok "),
                Level::Warning => (Paint::Warn, "warn"),
                Level::Problem => (Paint::Bad, "BAD "),
            };
            out.painted(paint, format!("[{mark}] {}: {}", finding.what, finding.detail));
            if let Some(remedy) = &finding.remedy {
                out.line(format!("       {remedy}"));
            }
        }
        let count = |level| self.0.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
        out.line(format!("{problems} problem(s), {warnings} warning(s)"));
    }
}

/// Runs `lifeboat doctor`; ends as failed when something will not work.
pub async fn run(ctx: &Ctx) -> Result<Exit, CliError> {
    let mut findings = Vec::new();
    match ctx.config() {
        Err(error) => {
            let detail = match error.why {
                Some(why) => format!("{}: {why}", error.what),
                None => error.what,
            };
            let remedy = error
                .hint
                .unwrap_or_else(|| "see it with: lifeboat config check".to_owned());
            findings.push(Finding::problem("configuration", detail, remedy));
        }
        Ok(config) => {
            findings.push(Finding::ok("configuration", config.path.display().to_string()));
            local::look(&config, ctx.clock.now(), &mut findings);
            remote::look(&config, &ctx.clock, &mut findings).await;
            local::look_at_servers(&config, &ctx.clock, &mut findings).await;
            live::look(ctx, &config, &mut findings).await;
        }
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Problem);
    ctx.print(&Findings(findings))?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
