//! A promotion: where the stream goes on when the timeline that was received has been left.
//!
//! `pg_receivewal` asks for its timeline from the beginning of the segment it is in. A server that was promoted refuses that
//! when it left the timeline there or before: always after a switchover that ended the segment first, and after a failover to
//! a standby that had received less than we have. It would ask for ever, and the archive would stand still.
//!
//! The log goes on in the segment that holds the place of the switch, under the number of the next timeline; the server has it
//! from its beginning. An empty file with that name, still growing, is what `pg_receivewal` begins at. What was received
//! behind that place is of a branch nobody is on any more: it is in the archive, and is removed here.
//!
//! **Crash windows.** Killed after the removal and before the new file is there, the next receiver fetches the newest segment
//! of the archive, is refused again, and comes back here.
//!
//! Asked by `psql` over the replication protocol, for which the right to receive is enough.

use tokio::io::AsyncReadExt;

use super::ReceiveOptions;
use super::local::LocalDir;
use crate::domain::wal::{History, Lsn, SegmentName, SegmentSize, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::child::Program;
use crate::source::postgres::tools::Tools;
use crate::source::postgres::wal::WalError;

/// More than a history of any cluster has.
const MOST: u64 = 1 << 20;

/// What `pg_receivewal` says when it is refused, whatever the reason.
pub(super) fn is_refused(why: &str) -> bool {
    why.contains("START_REPLICATION")
}

/// Where the log of the server goes on for what is in a directory; none when it is not a promotion that stands in the way.
pub(super) async fn onward(
    options: &ReceiveOptions,
    tools: &Tools,
    dir: &LocalDir,
    size: SegmentSize,
) -> Result<Option<SegmentName>, WalError> {
    let Some(next) = dir.next(size)? else { return Ok(None) };
    let words = replication(options, tools, "IDENTIFY_SYSTEM").await?;
    let odd = |text: &str| WalError::corrupt("an answer of the server".to_owned(), text.trim().to_owned());
    let timeline = words.split('|').nth(1).and_then(|word| word.parse().ok());
    let timeline = TimelineId(timeline.ok_or_else(|| odd(&words))?);
    if timeline <= next.timeline {
        return Ok(None);
    }
    let words = replication(options, tools, &format!("TIMELINE_HISTORY {}", timeline.0)).await?;
    let (_, text) = words.split_once('|').ok_or_else(|| odd(&words))?;
    let history = History::parse(timeline, text).map_err(|error| odd(&error.to_string()))?;
    Ok(after(&history, next, size))
}

/// The segment in which the log goes on along a history, for somebody who would go on with `next`; none when that is there.
fn after(history: &History, next: SegmentName, size: SegmentSize) -> Option<SegmentName> {
    let position = history
        .ancestors
        .iter()
        .position(|switch| switch.timeline == next.timeline)?;
    let at = history.ancestors[position].at;
    let start = next.start(size)?;
    let follower = history.ancestors.get(position + 1);
    let timeline = follower.map_or(history.timeline, |switch| switch.timeline);
    (start >= at).then(|| SegmentName::holding(at, timeline, size))
}

/// The answer to a command of the replication protocol.
async fn replication(options: &ReceiveOptions, tools: &Tools, command: &str) -> Result<String, WalError> {
    let login = &options.login;
    let mut running = Program::new("psql", &tools.program("psql"), login.connection.display())
        .connect(login, None)
        .arg("--dbname=replication=true")
        .arg("-XAtq")
        .arg(format!("--command={command}"))
        .start(Some(login))?;
    let mut text = String::new();
    if let Some(output) = running.take_stdout() {
        let read = output.take(MOST).read_to_string(&mut text).await;
        read.map_err(|error| SourceError::local("read the answer of", &tools.program("psql"), &error))?;
    }
    running.finish().await?;
    Ok(text)
}

/// Up to where a segment's timeline is received: where `pg_receivewal` goes on.
pub(super) fn goes_on_at(
    growing: Option<SegmentName>,
    newest: Option<SegmentName>,
    size: SegmentSize,
) -> Option<SegmentName> {
    // It goes by the place first, then by the timeline, and takes a finished segment before one that grows.
    let place = |name: SegmentName| (name.start(size).unwrap_or(Lsn(0)), name.timeline);
    match (growing, newest) {
        (Some(growing), Some(newest)) if place(growing) > place(newest) => Some(growing),
        (Some(growing), None) => Some(growing),
        (_, newest) => newest?.next(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_on_where_its_timeline_was_left() {
        let size = SegmentSize::default();
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let history = |number, text: &str| History::parse(TimelineId(number), text).unwrap();
        let (second, third) = (
            history(2, "1\t0/C000000\tno recovery target specified\n"),
            history(3, "1\t0/C000000\tx\n\n2\t0/E0000A0\ty\n"),
        );
        let cases = [
            // Left at the very beginning of the segment, or before it: refused.
            (&second, "00000001000000000000000C", Some("00000002000000000000000C")),
            (&second, "00000001000000000000000F", Some("00000002000000000000000C")),
            (&third, "00000001000000000000000C", Some("00000002000000000000000C")),
            (&third, "00000002000000000000000F", Some("00000003000000000000000E")),
            // Left within it or later: the server sends the rest and says where it goes on.
            (&second, "00000001000000000000000B", None),
            (&third, "00000002000000000000000E", None),
            // Not on the way of this server at all.
            (&history(3, "1\t0/C000000\tx\n"), "00000002000000000000000F", None),
        ];
        for (history, next, wanted) in cases {
            assert_eq!(after(history, name(next), size), wanted.map(name), "{next}");
        }
        let [b1, c1, c2] = [
            "00000001000000000000000B",
            "00000001000000000000000C",
            "00000002000000000000000C",
        ]
        .map(name);
        assert_eq!(goes_on_at(None, None, size), None);
        assert_eq!(goes_on_at(None, Some(b1), size), Some(c1));
        assert_eq!(goes_on_at(Some(c1), Some(b1), size), Some(c1));
        assert_eq!(goes_on_at(Some(c2), Some(c1), size), Some(c2));
        assert_eq!(goes_on_at(Some(c1), Some(c2), size), c2.next(size));
    }
}
