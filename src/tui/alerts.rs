//! Alerts: what can be done about one, and which runbook leads out of it.

use super::app::App;
use super::operation::{Choice, Operation};
use super::subject::find_clean;
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::id::AlertKey;
use crate::domain::runbook::view::{ExecutionView, Ready, RunbookLine};

/// Which runbooks answer an alert; the first that this site has is the one.
const fn answers(kind: AlertKind) -> &'static [&'static str] {
    match kind {
        AlertKind::PageChecksum => &["database-corruption"],
        AlertKind::PrimaryDown => &["database-down", "manual-failover"],
        AlertKind::MassEncryption => &["ransomware"],
        AlertKind::DrillOverdue | AlertKind::DrillFailed | AlertKind::RtoOverObjective => &["monthly-restore-test"],
        _ => &[],
    }
}

impl App {
    /// The runbook that leads out of what an alert is about; none when no runbook of this site fits.
    pub fn fitting_runbook(&self, alert: &Alert) -> Option<&RunbookLine> {
        let overview = self.overview.as_ref()?;
        let here = |line: &&RunbookLine| {
            !matches!(
                line.readiness.as_ref().map(|seen| &seen.state),
                Some(Ready::NotHere { .. })
            )
        };
        let found = |name: &&str| {
            let mut lines = overview.runbooks.iter().filter(here);
            lines.find(|line| line.name.as_str() == *name)
        };
        answers(alert.kind).iter().find_map(found)
    }

    /// The execution that an alert says is waiting.
    pub fn waiting_execution(&self, alert: &Alert) -> Option<&ExecutionView> {
        let overview = self.overview.as_ref()?;
        let about = |view: &&ExecutionView| alert.key.as_str().ends_with(view.run.id.as_str());
        let mut live = overview.executions.iter();
        live.find(about).filter(|_| alert.kind == AlertKind::RunbookWaiting)
    }

    /// What can be done about an alert.
    pub(super) fn alert_choices(&self, key: &AlertKey) -> Vec<Choice> {
        let record = self.alerts.get(key.as_str());
        let open = self
            .overview
            .iter()
            .flat_map(|overview| &overview.alerts)
            .find(|alert| alert.key == *key);
        let gone = open.is_none().then(|| "it is resolved".to_owned());
        let taken = open
            .and_then(|alert| alert.acknowledged.as_ref())
            .map(|ack| format!("{} has it", ack.by));
        let mut choices = vec![
            Choice::new(
                "Acknowledge: I am on it",
                Operation::Acknowledge(vec![key.clone()]),
                gone.clone().or(taken),
            ),
            Choice::new("Resolve by hand", Operation::Resolve(key.clone()), gone),
        ];
        let alert = open.or_else(|| record.map(|record| &record.alert));
        if let Some(line) = alert.and_then(|alert| self.fitting_runbook(alert)) {
            choices.extend(self.runbook_choices(&line.name));
        }
        let subject = alert.map(|alert| alert.subject.clone());
        if let Some(job) = subject.and_then(|subject| subject.job) {
            let encrypted = alert.is_some_and(|alert| alert.kind == AlertKind::MassEncryption);
            choices.extend(self.job_choices(&job).into_iter().take(1));
            choices.extend(encrypted.then(|| find_clean(&job)));
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_comes_with_the_program() {
        let kinds = [
            AlertKind::PageChecksum,
            AlertKind::PrimaryDown,
            AlertKind::MassEncryption,
            AlertKind::DrillFailed,
        ];
        for name in kinds.iter().flat_map(|kind| answers(*kind)) {
            let file = format!("{}/assets/runbooks/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&file).exists(), "{name}");
        }
    }
}
