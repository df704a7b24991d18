//! Whatever happened: incremental = replay = rebuild, for the state and for every page.

use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{any_event, at, person};
use super::{all_pages, place};
use crate::domain::apply::apply;
use crate::domain::state::State;
use crate::journal::Journal;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn incremental_is_replay_is_rebuild(batches in prop::collection::vec(prop::collection::vec(any_event(), 1..20), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let (journal, mut incremental) = Journal::open(&place(&dir)).await.unwrap();
            for (batch, seconds) in batches.into_iter().zip(0..) {
                for record in journal.append(&person(), at(seconds), batch).await.unwrap() {
                    apply(&mut incremental, &record);
                }
            }
            let pages = all_pages(&journal).await;
            prop_assert_eq!(&journal.replay().await.unwrap(), &incremental);
            prop_assert_eq!(&journal.rebuild().await.unwrap(), &incremental);
            prop_assert_eq!(&all_pages(&journal).await, &pages);
            prop_assert!(journal.verify().await.unwrap().is_intact());
            journal.close().await;
            let (journal, reopened) = Journal::open(&place(&dir)).await.unwrap();
            prop_assert_eq!(&reopened, &incremental);
            prop_assert_eq!(&all_pages(&journal).await, &pages);
            // A state survives being written down.
            let text = serde_json::to_string(&reopened).unwrap();
            prop_assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), &incremental);
            Ok(())
        })?;
    }
}
