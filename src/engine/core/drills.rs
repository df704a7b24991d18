//! Drills whose time has come: which snapshots there are to choose from is read from history, all of it.

use super::Core;
use crate::domain::command::Actor;
use crate::domain::drill;
use crate::domain::id::DrillName;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::Query;
use crate::engine::EngineError;

/// Of a source with more snapshots than this, the newest are chosen from.
const CHOSEN_FROM: usize = 10_000;

impl Core {
    /// Begins the drills whose time has come.
    pub(super) async fn begin_drills(&mut self, agent: &Actor) {
        let definitions = self.definitions();
        let unique = self.next_ids();
        for (name, due) in drill::due(&self.context(&definitions, unique)) {
            let Ok(candidates) = self.candidates(&name).await else {
                // Still due, so the next turn tries again.
                return;
            };
            let unique = self.next_ids();
            let context = self.context(&definitions, unique);
            let events = drill::begin(&context, "agent", &name, None, Some(due), &candidates)
                .unwrap_or_else(|refusal| vec![drill::skipped(&name, due, &refusal)]);
            if self.commit(agent, events).await.is_err() {
                return;
            }
        }
    }

    /// The snapshots of a drill's source, newest first.
    pub(super) async fn candidates(&self, name: &DrillName) -> Result<Vec<SnapshotRecord>, EngineError> {
        let definitions = self.definitions();
        match definitions.drills.get(name) {
            Some(drill) => {
                let query = Query {
                    source: Some(drill.source.to_string()),
                    ..Query::default()
                };
                self.parts.engine.history(query, CHOSEN_FROM).await
            }
            None => Ok(Vec::new()),
        }
    }
}
