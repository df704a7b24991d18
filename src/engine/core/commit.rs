//! From a command or an observation to the journal, and from there to the state: nothing changes before it is durable.
//!
//! **Crash windows.** Killed before the journal has the events, nothing has happened; killed after it, whoever begins next
//! replays them. Whoever asked and got no answer does not know which, and finds out by looking.

use std::sync::Arc;

use super::Core;
use super::ends::receipt;
use crate::domain::apply::apply;
use crate::domain::command::{Actor, Command};
use crate::domain::decide::{self, LookedUp};
use crate::domain::event::Event;
use crate::domain::run::Failure;
use crate::domain::runbook::RunbookFact;
use crate::domain::view::Receipt;
use crate::engine::EngineError;
use crate::journal::JournalError;

impl Core {
    /// Decides about a command; what it comes to is durable before anybody is told.
    pub(super) async fn command(
        &mut self,
        actor: &Actor,
        command: &Command,
        mut looked_up: LookedUp,
    ) -> Result<Receipt, EngineError> {
        self.look_up(command, &mut looked_up).await?;
        let (definitions, unique) = (self.definitions(), self.next_ids());
        let context = self.context(&definitions, unique);
        match decide::command(&context, actor, command, looked_up) {
            Ok(events) => {
                let receipt = receipt(&events);
                self.commit(actor, events).await.map_err(EngineError::Failed)?;
                Ok(Receipt {
                    seq: self.state.seq,
                    ..receipt
                })
            }
            Err(refusal) => {
                let refused = Event::CommandRefused {
                    command: command.word().to_owned(),
                    reason: refusal.reason.clone(),
                };
                if let Err(failure) = self.commit(actor, vec![refused]).await {
                    tracing::warn!("a refusal could not be journalled: {failure}");
                }
                Err(EngineError::Refused(refusal))
            }
        }
    }

    /// Appends events and applies them; on failure nothing has happened.
    pub(super) async fn commit(&mut self, actor: &Actor, events: Vec<Event>) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        let snapshots_changed = events.iter().any(|event| event.word().starts_with("snapshot_"));
        #[cfg(debug_assertions)]
        super::crash::before(&events);
        let records = match self.parts.journal.append(actor, self.parts.clock.now(), events).await {
            Ok(records) => records,
            Err(error) => {
                let failure = crate::engine::failure::of_journal(&error);
                self.beside.unwritten = Some(failure.to_string());
                tracing::error!("the journal cannot be written: {failure}");
                if matches!(error, JournalError::Overtaken { .. }) {
                    self.let_go();
                }
                return Err(failure);
            }
        };
        #[cfg(debug_assertions)]
        super::crash::after(&records);
        self.beside.unwritten = None;
        for record in &records {
            tracing::info!(seq = record.seq, "{}", record.event.summary());
            apply(&mut self.state, record);
            if let Event::Runbook {
                fact: RunbookFact::Finished { record },
                ..
            } = &record.event
            {
                super::steps::keep_report(&self.parts.reports, record);
            }
        }
        if snapshots_changed && let Ok(counts) = self.parts.journal.snapshot_counts().await {
            self.beside.snapshots = counts;
        }
        self.parts.state.send_replace(Arc::new(self.state.clone()));
        // The picture comes before the events: who has seen an event and then asks finds it in the picture.
        self.publish();
        for record in records {
            let _ = self.parts.events.send(Arc::new(record));
        }
        Ok(())
    }
}
