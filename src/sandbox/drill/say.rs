//! What the drill says.

use std::time::Instant;

use super::{Before, Drill};
use crate::clock::Clock;
use crate::domain::recovery::RecoveryPlan;
use crate::domain::units::Millis;
use crate::sandbox::incidents::RESTORED;
use crate::sandbox::{SandboxError, shop};

/// Writes the log, each line with the time since the beginning.
pub(super) struct Log<'a> {
    pub(super) clock: &'a Clock,
    pub(super) begun: Instant,
    pub(super) out: &'a (dyn Fn(&str) + Sync),
}

impl Log<'_> {
    /// A line with the time.
    pub(super) fn line(&self, text: &str) {
        (self.out)(&format!(
            "[{:6.1}s] {text}",
            self.clock.elapsed(self.begun).as_secs_f64()
        ));
    }

    /// A line that belongs to the one before.
    pub(super) fn more(&self, text: &str) {
        (self.out)(&format!("           {text}"));
    }
}

impl Drill<'_> {
    /// Shows a plan.
    pub(super) fn show(&self, plan: &RecoveryPlan) {
        let log = self.log;
        log.line(&format!("plan        {}", plan.request.target.display()));
        log.more(&format!(
            "            from {}, evidence {}, state of {}",
            plan.from,
            plan.evidence,
            plan.recover_to.format("%H:%M:%S")
        ));
        log.more(&format!("            to   {}", plan.target_identity));
        log.more(&format!(
            "            {} {}, {} to fetch, {} to write, {} things overwritten",
            plan.items,
            if plan.kind == "files" { "files" } else { "tables" },
            plan.fetch,
            plan.write,
            plan.overwrites
        ));
        if let Some(estimate) = plan.estimate {
            log.more(&format!(
                "            estimate {estimate}, from {} measurements",
                plan.estimate_samples
            ));
        }
        for warning in &plan.warnings {
            log.more(&format!("            note: {warning}"));
        }
        log.more(&format!("            undo: {}", plan.undo));
    }

    /// What was lost and how long it took, against what was promised.
    pub(super) async fn figures(&self, rpo: Millis, rto: Millis, lost: Option<u64>) -> Result<(), SandboxError> {
        let overview = self.client.overview().await?;
        let promised = overview.services.first();
        let objective = |millis: Option<Millis>| millis.map_or(String::new(), |millis| format!(", promised {millis}"));
        self.log.line(&format!(
            "RPO         {rpo} lost{}{}",
            objective(promised.map(|service| service.rpo.objective)),
            lost.map_or(String::new(), |lost| format!(
                "; {lost} orders came in after the backup and are gone"
            ))
        ));
        self.log.line(&format!(
            "RTO         {rto} from the incident to everything in its place{}",
            objective(promised.map(|service| service.rto.objective))
        ));
        Ok(())
    }

    /// Says how to do it with restic alone, and has restic look at the repository when it is here.
    pub(super) async fn without_us(&self, before: &Before) -> Result<(), SandboxError> {
        let root = self.world.path();
        let (repository, password) = (root.join("repository"), root.join("password"));
        self.log
            .line("without us  the repository is restic's own format; the same with restic alone:");
        self.log
            .more(&format!("export RESTIC_PASSWORD_FILE={}", password.display()));
        let documents = self.world.documents();
        self.log.more(&format!(
            "restic -r {} restore {} --target / --include {}",
            repository.display(),
            before.documents.id.short(),
            documents.display()
        ));
        if let Some((snapshot, _)) = &before.shop {
            self.log.more(&format!(
                "createdb {RESTORED} && restic -r {} dump {} /{}.dump | pg_restore --dbname={RESTORED}",
                repository.display(),
                snapshot.id.short(),
                shop::DATABASE
            ));
        }
        // The agent may be looking after the repository just now; who only reads need not wait for it.
        let checking = tokio::process::Command::new("restic")
            .arg("-r")
            .arg(&repository)
            .args(["check", "--read-data", "--no-cache", "--no-lock", "--quiet"])
            .env("RESTIC_PASSWORD_FILE", &password)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        match checking.await {
            Ok(output) if output.status.success() => self.log.more("restic check --read-data: no errors were found"),
            Ok(output) => {
                return Err(SandboxError::Engine {
                    message: format!(
                        "restic finds the repository damaged: {}",
                        String::from_utf8_lossy(&output.stderr).trim()
                    ),
                    hint: Some("try again with --keep and look at it".to_owned()),
                });
            }
            Err(_) => self
                .log
                .more("(restic is not installed here, so it was not asked to check)"),
        }
        Ok(())
    }
}
