//! The real way to an agent: the typed client of the API.

use futures_util::StreamExt;

use super::link::{Answer, Link, Live, Question, Trouble};
use crate::api::client::{Client, ClientError};

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self {
            message: error.message,
            hint: error.hint,
        }
    }
}

impl Link for Client {
    fn who(&self) -> String {
        self.actor().name.clone()
    }

    async fn stream(&self) -> Result<Live, Trouble> {
        let live = Self::stream(self).await?.into_stream();
        Ok(Box::pin(live.map(|item| item.map_err(Trouble::from))))
    }

    async fn ask(&self, question: Question) -> Result<Answer, Trouble> {
        Ok(match question {
            Question::Runs(query) => Answer::Runs(self.runs(&query).await?),
            Question::Snapshots(query) => Answer::Snapshots(self.snapshots(&query).await?),
            Question::Recoveries(query) => Answer::Recoveries(self.recoveries(&query).await?),
            Question::Alerts(query) => Answer::Alerts(self.alerts(&query).await?),
            Question::Journal(query) => Answer::Journal(self.journal(&query).await?),
            Question::Tree(snapshot, path) => Answer::Tree(self.snapshot_tree(&snapshot, &path).await?),
            Question::Content(snapshot, path, limit) => {
                Answer::Content(self.snapshot_content(&snapshot, &path, limit).await?)
            }
            Question::Log(run) => Answer::Text(self.run_log(&run).await?),
            Question::Retention(job) => Answer::Retention(Box::new(self.retention(&job).await?)),
            Question::Clusters => Answer::Clusters(self.clusters().await?),
            Question::Plan(request) => Answer::Plan(Box::new(self.plan(&request).await?)),
            Question::Runbook(name) => Answer::Runbook(Box::new(self.runbook(&name).await?)),
            Question::Readiness(name) => Answer::Readiness(Box::new(self.ask_readiness(name.as_str()).await?)),
            Question::Executions(query) => Answer::Executions(self.executions(&query).await?),
            Question::PlanRunbook(wish) => Answer::RunbookPlan(Box::new(self.plan_runbook(*wish).await?)),
            Question::Command(command) => Answer::Receipt(self.command(command).await?),
            Question::Practice(incident) => Answer::Text(self.practice(&incident).await?),
        })
    }
}
