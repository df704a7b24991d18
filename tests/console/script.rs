//! A scripted agent: answers from the fixture, and a stream that a test can feed, break and mend.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use lifeboat::clock::Clock;
use lifeboat::domain::command::Command;
use lifeboat::domain::view::{Overview, Page, Receipt, StreamItem};
use lifeboat::tui::link::{Answer, Link, Live, Question, Trouble};

use crate::{finder, fixture, runbooks, servers};

/// How the scripted agent behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// One picture, then silence but for a sign of life every ten seconds.
    Quiet,
    /// A new picture with moving progress every second.
    Busy,
    /// The stream breaks after a second, and comes back after the next try but one.
    Broken,
    /// There is no agent.
    Gone,
    /// One picture with a recovered server that waits.
    Waiting,
    /// One picture with an execution of a runbook that waits for its third step.
    Led,
}

/// The scripted agent.
#[derive(Debug, Clone)]
pub struct Script {
    mood: Mood,
    snapshots: u64,
    tries: Arc<Mutex<u32>>,
}

impl Script {
    /// An agent of that mood with that many snapshots.
    pub fn new(mood: Mood, snapshots: u64) -> Self {
        Self {
            mood,
            snapshots,
            tries: Arc::default(),
        }
    }
}

fn picture(overview: Overview) -> StreamItem {
    StreamItem::Overview {
        overview: Box::new(overview),
    }
}

/// The picture after some seconds of work.
fn later(seconds: u64) -> Overview {
    let mut overview = fixture::overview();
    overview.at += chrono::Duration::seconds(i64::try_from(seconds).unwrap());
    if let Some(progress) = overview.runs.first_mut().and_then(|view| view.progress.as_mut()) {
        progress.bytes_done.0 += seconds % 40 * 14 * (1 << 20);
        progress.rate.0 += seconds % 7 * (1 << 20);
        progress.eta = Some(lifeboat::domain::Millis::from_secs(42 - seconds % 40));
    }
    if let Some(progress) = overview.recoveries.first_mut().and_then(|view| view.progress.as_mut()) {
        progress.bytes_done.0 += seconds % 80 * 9 * (1 << 20);
    }
    overview
}

impl Link for Script {
    fn who(&self) -> String {
        "ana".to_owned()
    }

    async fn stream(&self) -> Result<Live, Trouble> {
        let clock = Clock::system();
        let number = {
            let mut tries = self.tries.lock().unwrap();
            *tries += 1;
            *tries
        };
        let mood = self.mood;
        if mood == Mood::Gone || (mood == Mood::Broken && number == 2) {
            return Err(Trouble {
                message: "no agent answers on /run/lifeboat.sock".to_owned(),
                hint: Some("start it with: lifeboat agent run".to_owned()),
            });
        }
        let stream = futures_util::stream::unfold(0u64, move |step| {
            let clock = clock.clone();
            async move {
                let item = match (mood, step) {
                    (Mood::Waiting, 0) => picture(servers::waiting_night()),
                    (Mood::Led, 0) => picture(runbooks::night(Some(runbooks::run()))),
                    (_, 0) => picture(fixture::overview()),
                    (Mood::Busy, step) => {
                        clock.sleep(Duration::from_secs(1)).await;
                        picture(later(step))
                    }
                    (Mood::Broken, _) if number == 1 => {
                        clock.sleep(Duration::from_secs(1)).await;
                        return None;
                    }
                    _ => {
                        clock.sleep(Duration::from_secs(10)).await;
                        StreamItem::Alive { at: fixture::now() }
                    }
                };
                Some((Ok(item), step + 1))
            }
        });
        Ok(stream.boxed())
    }

    async fn ask(&self, question: Question) -> Result<Answer, Trouble> {
        fn all<T>(items: Vec<T>) -> Page<T> {
            Page { items, next: None }
        }
        Ok(match question {
            Question::Runs(query) => Answer::Runs(all(fixture::runs(&query.job.unwrap_or_default().into()))),
            Question::Snapshots(query) if query.trash == Some(true) => Answer::Snapshots(all(fixture::trashed())),
            Question::Snapshots(query) if query.gone == Some(true) => {
                Answer::Snapshots(all(finder::line(&query.job.unwrap_or_default())))
            }
            Question::Retention(job) => Answer::Retention(Box::new(fixture::retention(&job))),
            Question::Snapshots(query) => {
                let from: u64 = query.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
                let to = (from + u64::from(query.limit.unwrap_or(100))).min(self.snapshots);
                let next = (to < self.snapshots).then(|| to.to_string());
                Answer::Snapshots(Page {
                    items: (from..to).map(fixture::snapshot).collect(),
                    next,
                })
            }
            Question::Recoveries(_) if self.mood == Mood::Waiting => {
                Answer::Recoveries(all(servers::waiting_recoveries()))
            }
            Question::Recoveries(_) => Answer::Recoveries(all(fixture::recoveries())),
            Question::Alerts(_) => Answer::Alerts(all(fixture::alerts())),
            Question::Clusters => Answer::Clusters(fixture::clusters()),
            Question::Journal(_) => Answer::Journal(all(fixture::journal())),
            Question::Tree(_, path) => Answer::Tree(fixture::tree(&path)),
            Question::Content(_, path, _) => Answer::Content(fixture::content(&path)),
            Question::Log(run) => {
                let lines = (0..200).map(|n| format!("03:11:{:02}  {run}  step {n}: table public.t{n} done", n % 60));
                Answer::Text(lines.collect::<Vec<_>>().join("\n"))
            }
            Question::Runbook(_) => Answer::Runbook(Box::new(runbooks::book())),
            Question::Readiness(_) => Answer::Readiness(Box::new(runbooks::not_ready())),
            Question::Executions(_) => Answer::Executions(all(runbooks::ended())),
            Question::PlanRunbook(wish) => Answer::RunbookPlan(Box::new(runbooks::plan(&wish)?)),
            Question::Command(Command::SayInRunbook { saying, .. }) => return runbooks::say(&saying),
            Question::Plan(request) => Answer::Plan(Box::new(fixture::plan(&request))),
            Question::Command(command) => Answer::Receipt(Receipt {
                seq: 1208,
                run: None,
                recovery: matches!(command, Command::StartRecovery { .. }).then(|| "rec-01hd3k9x7a0b2".into()),
                maintenance: Vec::new(),
                runbook: matches!(command, Command::StartRunbook { .. }).then(|| runbooks::RUN.into()),
            }),
            Question::Practice(incident) => Answer::Text(format!("{incident}: done, now find out what is missing")),
        })
    }
}
