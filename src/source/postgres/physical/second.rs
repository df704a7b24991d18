//! Pages that seemed damaged in a stream, read a second time through the server.

use super::cluster::Cluster;
use super::names;
use super::page::{self, PAGE, Verdict};
use crate::domain::wal::Lsn;
use crate::source::SourceError;
use crate::source::manifest::DamagedPage;

/// Asks the server for each page that seems damaged, and forgets those that were being written.
pub(super) async fn look(
    cluster: &Cluster,
    start: Lsn,
    pages: &mut Vec<DamagedPage>,
    total: &mut u64,
) -> Option<String> {
    let mut refused = None;
    for seen in std::mem::take(pages) {
        if refused.is_some() {
            pages.push(seen);
            continue;
        }
        match again(cluster, &seen).await {
            Ok(Verdict::Sound) => *total -= 1,
            Ok(Verdict::Wrong { lsn, .. }) if lsn >= start => *total -= 1,
            Ok(Verdict::Wrong { .. }) => pages.push(seen),
            Err(error) => {
                pages.push(seen);
                refused = Some(format!(
                    "pages with a wrong checksum could not be read a second time ({error}); some may only have been \
                     written while they were sent"
                ));
            }
        }
    }
    refused
}

async fn again(cluster: &Cluster, seen: &DamagedPage) -> Result<Verdict, SourceError> {
    let path = seen.file.strip_prefix("/data/").map_or_else(
        || format!("pg_tblspc{}", seen.file.trim_start_matches("/tablespaces")),
        str::to_owned,
    );
    let offset = i64::try_from(seen.block * PAGE as u64).unwrap_or(i64::MAX);
    let length = i64::try_from(PAGE).unwrap_or(0);
    let sql = "select pg_catalog.pg_read_binary_file($1, $2, $3, true)";
    let rows = cluster
        .session
        .rows("read a page again", sql, &[&path, &offset, &length])
        .await?;
    let bytes: Option<Vec<u8>> = rows.first().and_then(|row| row.get(0));
    let segment = path
        .rsplit('/')
        .next()
        .and_then(names::relation)
        .map_or(0, |relation| relation.segment);
    let number = u64::from(segment) * u64::from(cluster.segment_pages) + seen.block;
    let page = bytes.as_deref().and_then(|bytes| <&[u8; PAGE]>::try_from(bytes).ok());
    // A file that is gone or shorter by now was changed meanwhile, which recovery does again.
    Ok(page.map_or(Verdict::Sound, |page| {
        page::look(page, u32::try_from(number).unwrap_or_default())
    }))
}
