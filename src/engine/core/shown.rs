//! The picture people are shown, drawn anew: what is live, and how far each piece of work is.
//!
//! What is kept for work that is over goes with it, here and nowhere else.

use std::collections::BTreeMap;

use super::{Core, Live};
use crate::domain::view::ProgressView;
use crate::engine::overview::draw;

/// How far each piece of work is, of those that can say.
fn sampled<Id: Clone + Ord>(live: &BTreeMap<Id, Live>) -> BTreeMap<Id, ProgressView> {
    let samples = live.iter();
    samples
        .filter_map(|(id, live)| Some((id.clone(), live.progress.get().map(|sampler| sampler())?)))
        .collect()
}

impl Core {
    /// Draws the picture and hands it out.
    pub(super) fn publish(&mut self) {
        self.runs.retain(|run, _| self.state.runs.contains_key(run));
        self.recoveries
            .retain(|recovery, _| self.state.recoveries.contains_key(recovery));
        self.maintenance.retain(|id, _| self.state.maintenance.contains_key(id));
        self.beside.said.retain(|run, _| self.state.runbooks.contains_key(run));
        self.beside.runs = sampled(&self.runs);
        self.beside.recoveries = sampled(&self.recoveries);
        self.beside.maintenance = sampled(&self.maintenance);
        self.show_follow_ups();
        self.beside.practice = self.parts.practice.as_ref().map(|practice| practice.words());
        let picture = draw(&self.state, &self.definitions(), &self.beside, self.parts.clock.now());
        self.parts.overview.send_replace(picture);
    }
}
