//! Repositories in buckets: whether they can be reached from here, with these credentials.

use super::Finding;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::address::Address;
use crate::store::{self, ErrorKind, StoreError};

/// The clocks may differ by this much before it is worth a word; servers refuse signatures at fifteen minutes.
const APART_SECS: i64 = 60;

/// Looks at each repository in a bucket.
pub async fn look(config: &Config, clock: &Clock, findings: &mut Vec<Finding>) {
    for repository in config.definitions.repositories.values() {
        if !matches!(Address::parse(&repository.url), Ok(Address::S3(_))) {
            continue;
        }
        let what = format!("repository {}", repository.name);
        let store = match store::open_defined(repository, clock).await {
            Ok(store) => store,
            Err(error) => {
                findings.push(refused(what, &error));
                continue;
            }
        };
        let began = clock.monotonic();
        findings.push(match store.head("config").await {
            Ok(_) => {
                let detail = format!(
                    "answers at {} after {} ms",
                    store.location(),
                    clock.elapsed(began).as_millis()
                );
                Finding::ok(what.clone(), detail)
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                // A missing bucket looks the same to that question; a listing tells them apart.
                match store.list("keys/").await {
                    Ok(_) => Finding::problem(
                        what.clone(),
                        format!("the bucket answers, but there is no repository at {}", store.location()),
                        format!("make it with: lifeboat repo init --repository {}", repository.name),
                    ),
                    Err(error) => refused(what.clone(), &error),
                }
            }
            Err(error) => refused(what.clone(), &error),
        });
        if let Some(server) = store.server_time() {
            let apart = (clock.now() - server).num_seconds().abs();
            if apart > APART_SECS {
                findings.push(Finding::warning(
                    format!("{what}: clock"),
                    format!("this machine's clock and the server's are {apart} s apart"),
                    "set this machine's: timedatectl set-ntp true",
                ));
            }
        }
    }
}

fn refused(what: String, error: &StoreError) -> Finding {
    Finding::problem(
        what,
        error.to_string(),
        error.hint().unwrap_or("check the address and the credentials"),
    )
}
