//! Every runbook that comes with the program, played in the sandbox: in good order, and by an agent that dies at every step.

use std::fs;

use lifeboat::clock::Clock;
use lifeboat::sandbox::{Apart, DemoOptions, Scenario, drill};

/// Plays the story of a runbook with an agent that is killed wherever it can be killed: at every durable fact of its execution,
/// whenever a step has acted and that is not noted yet, and inside the steps.
async fn killed(story: Scenario) {
    let parent = tempfile::tempdir().unwrap();
    let crash = parent.path().join("crash");
    fs::create_dir(&crash).unwrap();
    let report = parent.path().join("report.md");
    let options = DemoOptions {
        dir: Some(parent.path().join("world")),
        scenario: Some(story),
        report: Some(report.clone()),
        apart: Some(Apart {
            program: env!("CARGO_BIN_EXE_lifeboat").into(),
            crash: Some(crash),
        }),
        ..DemoOptions::default()
    };
    let said = std::sync::Mutex::new(Vec::new());
    let hear = |line: &str| said.lock().unwrap().push(line.to_owned());
    let verdict = drill(&options, &Clock::system(), &hear).await;
    let said = said.into_inner().unwrap().join("\n");
    let verdict = verdict.unwrap_or_else(|error| panic!("{}: {error}\n{said}", story.runbook()));
    let deaths = verdict.deaths.unwrap();
    println!("{} ({}): {deaths}", story.runbook(), story.word());
    assert_eq!(deaths.wrong, Vec::<String>::new(), "{said}");
    assert!(verdict.identical, "{said}");
    assert!(
        deaths.by_kind[0] > 5 && deaths.by_kind[1] > 0 && deaths.doubts[0] > 1,
        "{said}"
    );
    let report = fs::read_to_string(&report).unwrap();
    assert!(
        report.contains("completed") && report.contains("## Proof from outside"),
        "{report}"
    );
}

macro_rules! killed {
    ($($test:ident: $story:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                killed(Scenario::$story).await;
            }
        )*

        #[test]
        fn no_runbook_is_left_out() {
            let played = [$(Scenario::$story),*];
            for story in Scenario::DRILLS {
                assert!(played.contains(&story), "{}", story.runbook());
            }
        }
    };
}

killed! {
    killed_automatic_failover: Automatic,
    killed_break_glass: BreakGlass,
    killed_data_centre_loss: DataCentre,
    killed_database_corruption: Corruption,
    killed_database_down: DatabaseDown,
    killed_failback: Failback,
    killed_manual_failover: Failover,
    killed_monthly_restore_test: Monthly,
    killed_partial_data_loss: Pitr,
    killed_planned_failover: Switchover,
    killed_quarterly_drill: Quarterly,
    killed_ransomware: Ransomware,
    killed_regional_failure: RegionLoss,
    killed_repository_damaged: RepositoryDamaged,
    killed_repository_full: DiskFull,
    killed_single_table_recovery: SingleTable,
    killed_split_network: SplitNetwork,
}
