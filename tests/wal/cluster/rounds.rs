//! Failover at random: whatever is done to the servers and to the agent at whatever moment, at no time do two servers take
//! writes and nothing that was acknowledged and replicated is lost.
//!
//! More rounds by hand: `LIFEBOAT_FAILOVER_ROUNDS=100 cargo nextest run -E 'test(random_faults)'`. A seed that went wrong is
//! given again with `LIFEBOAT_FAILOVER_SEED`.

use std::time::{Duration, Instant};

use lifeboat::domain::runbook::report::report;
use lifeboat::domain::runbook::{RunbookOutcome, StepState};
use nix::sys::signal::{Signal, kill};

use super::agent::{Agent, policy, processes, reaped, signal, synchronous, writable};
use super::probe::{Ledger, Prober};
use super::world::Pair;

/// What is done to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The primary is killed.
    Killed,
    /// The standby stands still while the primary is killed, and goes on later.
    StandbyFrozen,
    /// The primary hangs: it accepts connections, and never answers.
    Hung,
    /// Nobody gets a new session on the primary; those that are open, and its standby, are served.
    DoorShut,
    /// Only we do not reach the primary.
    PathCut,
    /// A person fails over by hand.
    ByHand,
}

const FAULTS: [Fault; 6] = [
    Fault::Killed,
    Fault::StandbyFrozen,
    Fault::Hung,
    Fault::DoorShut,
    Fault::PathCut,
    Fault::ByHand,
];

impl Fault {
    /// Whether the standby is the primary afterwards.
    fn moves(self) -> bool {
        !matches!(self, Self::DoorShut | Self::PathCut)
    }
}

/// A small generator, so that a seed says which round went wrong.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    async fn wait(&mut self, pair: &Pair, most_millis: u64) {
        pair.clock.sleep(Duration::from_millis(self.below(most_millis))).await;
    }
}

/// One round.
struct Round<'a> {
    pair: &'a Pair,
    fault: Fault,
    primary: &'static str,
    standby: &'static str,
}

impl Round<'_> {
    /// Breaks something at random moments; the moment at which the primary was lost.
    async fn hit(&self, dice: &mut Dice) -> Instant {
        let pair = self.pair;
        dice.wait(pair, 800).await;
        let now = || pair.clock.monotonic();
        match self.fault {
            Fault::Killed => {
                let at = now();
                signal(&pair.data(self.primary), Signal::SIGKILL);
                at
            }
            Fault::StandbyFrozen => {
                signal(&pair.data(self.standby), Signal::SIGSTOP);
                dice.wait(pair, 500).await;
                let at = now();
                signal(&pair.data(self.primary), Signal::SIGKILL);
                dice.wait(pair, 4000).await;
                signal(&pair.data(self.standby), Signal::SIGCONT);
                at
            }
            Fault::Hung => {
                let at = now();
                signal(&pair.data(self.primary), Signal::SIGSTOP);
                at
            }
            Fault::DoorShut => {
                let postmaster = std::fs::read_to_string(pair.data(self.primary).join("postmaster.pid")).unwrap();
                let pid: i32 = postmaster.lines().next().unwrap().parse().unwrap();
                let pid = nix::unistd::Pid::from_raw(pid);
                assert!(processes(&pair.data(self.primary)).contains(&pid));
                kill(pid, Signal::SIGSTOP).unwrap();
                dice.wait(pair, 8000).await;
                kill(pid, Signal::SIGCONT).unwrap();
                now()
            }
            Fault::PathCut => {
                let (socket, away) = (pair.host(self.primary).join(".s.PGSQL.5432"), pair.at("own/socket"));
                std::fs::rename(&socket, &away).unwrap();
                dice.wait(pair, 6000).await;
                std::fs::rename(&away, &socket).unwrap();
                now()
            }
            Fault::ByHand => {
                let set = [
                    format!("primary={}", self.primary),
                    format!("standby={}", self.standby),
                    "cluster=orders".to_owned(),
                ];
                let mut words = vec!["runbook", "run", "manual-failover", "--yes", "--no-wait"];
                words.extend(set.iter().flat_map(|one| ["--set", one.as_str()]));
                let at = now();
                pair.done(&words);
                at
            }
        }
    }

    /// Kills the agent at a random moment or in a random step, not at all, or twice.
    async fn kill_agent(&self, agent: &mut Agent, dice: &mut Dice) -> &'static str {
        let pair = self.pair;
        let how = ["left alone", "killed", "killed in a step", "killed twice"][usize::try_from(dice.below(4)).unwrap()];
        if how == "left alone" {
            return how;
        }
        if how == "killed in a step" {
            let steps = ["fence", "replay", "promote", "one-primary", "stop-old", "rebuild"];
            let step = steps[usize::try_from(dice.below(6)).unwrap()];
            agent.reaches(pair, step).await;
        } else {
            dice.wait(pair, 6000).await;
        }
        agent.kill();
        dice.wait(pair, 1500).await;
        agent.again(pair);
        if how == "killed twice" {
            dice.wait(pair, 3000).await;
            agent.kill();
            agent.again(pair);
        }
        how
    }

    /// What is left of the old primary follows the new one.
    async fn mend(&self, agent: &Agent) {
        let record = agent.ended().await.remove(0);
        let done = |wanted: &str| {
            let mut rows = record.run.rows();
            rows.any(|(step, done)| step.id == wanted && done.state == StepState::Done)
        };
        assert!(done("promote"), "{}", report(&record));
        let text = report(&record);
        if self.fault == Fault::ByHand && text.contains("a rewind of") && text.contains("cannot be trusted") {
            // Its agent was killed while the directory was being rewritten: nobody takes it for whole, and it is cloned.
            println!("a rewind was cut off, and is not trusted");
            let reclone = ["cluster", "reclone", "orders", self.primary, "--discard-old"];
            self.pair.done(&[&reclone[..], &["--yes", self.primary]].concat());
        } else if self.fault == Fault::ByHand {
            assert_eq!(record.outcome, RunbookOutcome::Completed, "{text}");
            assert_eq!(self.pair.sql(self.primary, "select pg_is_in_recovery()"), "t");
        } else {
            reaped(self.pair, self.primary).await;
            self.pair
                .done(&["cluster", "rewind", "orders", self.primary, "--yes", self.primary]);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_never_make_two_primaries_nor_lose_what_was_replicated() {
    let rounds = number("LIFEBOAT_FAILOVER_ROUNDS").unwrap_or(3);
    let seed = number("LIFEBOAT_FAILOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("LIFEBOAT_FAILOVER_SEED={seed}");
    let mut dice = Dice(seed);
    let begin_with = dice.below(6);
    let pair = Pair::new().await;
    pair.sql("db1", "create table probe (who text)");
    pair.configure(&policy(", set = { rebuild = \"false\" }"));
    let mut agent = Agent::start(&pair);
    let (mut primary, mut standby) = ("db1", "db2");
    let (mut times, mut rows) = (Vec::new(), 0);
    for round in 0..rounds {
        let fault = FAULTS[usize::try_from((begin_with + round) % 6).unwrap()];
        let play = Round {
            pair: &pair,
            fault,
            primary,
            standby,
        };
        synchronous(&pair, primary, standby);
        agent.watches(&pair, primary, standby).await;
        let (ledger, prober) = (Ledger::begin(&pair), Prober::begin(&pair).await);
        pair.until("rows are written", || ledger.count() > 20).await;
        let at = play.hit(&mut dice).await;
        let how = play.kill_agent(&mut agent, &mut dice).await;
        let expected = if fault.moves() { standby } else { primary };
        writable(&pair, expected).await;
        agent
            .seen(&pair, "executions have ended", |picture| picture.executions.is_empty())
            .await;
        let then = ledger.count();
        pair.until("rows are written", || ledger.count() > then + 20).await;
        let first = prober.first(expected).expect("it took writes");
        rows += ledger.end(&pair, expected).await;
        prober.end(expected).await;
        let took = first.saturating_duration_since(at).as_secs_f32();
        println!("round {round}: {fault:?}, agent {how}: {expected} takes writes after {took:.1} s");
        if fault.moves() {
            times.push((fault, took));
            play.mend(&agent).await;
            std::mem::swap(&mut primary, &mut standby);
        }
    }
    for fault in FAULTS.into_iter().filter(|fault| fault.moves()) {
        let of = times.iter().filter(|(one, _)| *one == fault);
        let mut of: Vec<f32> = of.map(|(_, took)| *took).collect();
        of.sort_by(f32::total_cmp);
        let median = of.get(of.len() / 2).copied().unwrap_or_default();
        let most = of.last().copied().unwrap_or_default();
        println!(
            "{fault:?}: {} times, median {median:.1} s, longest {most:.1} s",
            of.len()
        );
    }
    println!(
        "{rounds} rounds, {} failovers, {rows} rows acknowledged, none lost; no second writer",
        times.len()
    );
}
