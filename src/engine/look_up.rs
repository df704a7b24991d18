//! What a decision about a person's command has to know, looked up before the core decides.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Engine};
use crate::domain::command::Command;
use crate::domain::decide::LookedUp;
use crate::domain::id::SourceName;
use crate::domain::view::Overview;

/// How long a drill waits for the first look at a log.
const LOG_WAIT: Duration = Duration::from_secs(15);

impl Engine {
    /// Looks up what a decision about the command needs to know.
    pub(super) async fn look_up(&self, command: &Command) -> Answer<LookedUp> {
        match command {
            Command::StartRecovery { request } => {
                let plan = self.plan(request.clone()).await?;
                let snapshot = self.snapshot(request.snapshot.as_str()).await?;
                Ok(LookedUp {
                    snapshot: Some(snapshot),
                    plan: Some(plan),
                    ..LookedUp::default()
                })
            }
            Command::RunDrill { drill, .. } => {
                let source = self
                    .definitions
                    .borrow()
                    .drills
                    .get(drill)
                    .map(|drill| drill.source.clone());
                if let Some(source) = source.filter(|source| self.definitions.borrow().has_log(source)) {
                    self.seen_log(&source).await;
                }
                Ok(LookedUp::default())
            }
            Command::VerifySnapshot { snapshot, .. } => Ok(LookedUp {
                snapshot: Some(self.snapshot(snapshot.as_str()).await?),
                ..LookedUp::default()
            }),
            _ => Ok(LookedUp::default()),
        }
    }

    /// Waits until somebody has looked at the log of a source, which is a matter of seconds after a start; not for ever.
    async fn seen_log(&self, source: &SourceName) {
        let mut overview = self.overview.clone();
        let seen = |overview: &Arc<Overview>| overview.logs.iter().any(|sight| sight.source == *source);
        tokio::select! {
            _ = overview.wait_for(seen) => {}
            () = self.clock.sleep(LOG_WAIT) => {}
        }
    }
}
