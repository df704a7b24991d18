//! What a scenario came to: the proof, the figures, and the report of the runbook with both added, as a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Drill, Story, Verdict};
use crate::domain::runbook::RunbookRecord;
use crate::domain::runbook::report::report;
use crate::domain::units::Millis;
use crate::sandbox::SandboxError;

impl Drill<'_> {
    /// Says how it went, and writes the report.
    pub(super) async fn settle(
        &self,
        story: &Story,
        record: &RunbookRecord,
        to: Option<&Path>,
    ) -> Result<Verdict, SandboxError> {
        self.log.line("prove       from outside");
        for (same, text) in &story.proof {
            self.log.more(&format!("{} {text}", mark(*same)));
        }
        let through = record.outcome.is_through();
        let proved = through && !story.proof.is_empty() && story.proof.iter().all(|(same, _)| *same);
        let end = story.back.unwrap_or_else(|| self.world.clock().monotonic());
        let noticed = story.noticed.unwrap_or(story.broken);
        let decided = story.decided.unwrap_or(noticed);
        let between = |from, to: std::time::Instant| Millis::from(to.saturating_duration_since(from));
        let rows = [
            ("detect", between(story.broken, noticed).to_string()),
            ("decide", between(noticed, decided).to_string()),
            ("recover", between(decided, end).to_string()),
            ("data lost", story.lost.clone()),
        ];
        let all = between(story.broken, end);
        let words: Vec<String> = rows.iter().map(|(what, figure)| format!("{what} {figure}")).collect();
        self.log
            .line(&format!("score       {}; {all} in all", words.join(", ")));
        let mut text = report(record);
        let _ = write!(text, "\n## Score\n\n| part | figure |\n| --- | --- |\n");
        for (what, figure) in &rows {
            let _ = writeln!(text, "| {what} | {figure} |");
        }
        let _ = write!(text, "| **all** | **{all}** |\n\n## Proof from outside\n\n");
        for (same, line) in &story.proof {
            let _ = writeln!(text, "- {} {line}", mark(*same));
        }
        let path = self.report_path(story, to);
        tokio::fs::write(&path, text)
            .await
            .map_err(|error| SandboxError::local("write", &path, error))?;
        self.log.line(&format!("report      {}", path.display()));
        self.log.line(&if proved {
            format!("PROVED      {}: {}", story.which.word(), story.which.title())
        } else {
            "NOT PROVED: see above".to_owned()
        });
        Ok(Verdict {
            identical: proved,
            rpo: Millis(0),
            rto: all,
            deaths: None,
        })
    }

    fn report_path(&self, story: &Story, to: Option<&Path>) -> PathBuf {
        to.map_or_else(
            || {
                let stamp = self.world.clock().now().format("%Y%m%d-%H%M%S");
                let name = format!("lifeboat-report-{}-{stamp}.md", story.which.word());
                std::env::temp_dir().join(name)
            },
            Path::to_owned,
        )
    }
}

const fn mark(same: bool) -> &'static str {
    if same { "same " } else { "OTHER" }
}
