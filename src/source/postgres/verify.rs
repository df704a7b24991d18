//! The proof of a dump, step by step: decoded, restored into a scratch database, probed.

use sha2::{Digest, Sha256};

use super::child::Program;
use super::compare::compare;
use super::connect::Login;
use super::feed::{Head, feed};
use super::play;
use super::probe;
use super::restore::{Dump, into_scratch};
use super::scratch::ScratchDatabase;
use crate::domain::job::SqlProbe;
use crate::domain::recovery::{DatabaseRestore, Finding};
use crate::domain::units::Bytes;
use crate::source::{SourceError, Subject, Work};

/// A dump that is being proved; the scratch database it may hold is dropped with it.
pub(in crate::source) struct Proof {
    dump: Dump,
    login: Login,
    scratch: Option<ScratchDatabase>,
}

impl Proof {
    /// Reads what the snapshot says of its dump.
    pub(in crate::source) async fn begin(
        subject: &Subject,
        login: Login,
        work: &Work<'_>,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            dump: Dump::of(subject, work).await?,
            login,
            scratch: None,
        })
    }

    /// How much it restores: bytes of the dump, and tables.
    pub(in crate::source) fn size(&self) -> (Bytes, u64) {
        (Bytes(self.dump.artifact.bytes), self.dump.database.facts.tables)
    }

    /// Reads the table of contents and every entry of the dump, and holds its length and hash against those recorded.
    pub(in crate::source) async fn decode(&self, work: &Work<'_>) -> Result<Vec<Finding>, SourceError> {
        work.progress.set_current("reading the dump");
        let (mut bytes, mut digest) = (0_u64, Sha256::new());
        let hash = |blob: &[u8]| {
            bytes += blob.len() as u64;
            digest.update(blob);
        };
        if self.dump.is_plain() {
            let held = play::read(&self.dump, hash, work).await?;
            let readable = Finding {
                what: "dump readable".to_owned(),
                ok: held.statements > 0,
                detail: format!("{} statements and the rows of {} tables", held.statements, held.copies),
            };
            return Ok(vec![readable, self.as_recorded(bytes, &hex::encode(digest.finalize()))]);
        }
        let tools = self.dump.tools(Some(&self.login), 0, work).await?;
        let head = Head::read(&self.dump, &tools, work).await?;
        let subject = format!("the dump of snapshot {}", self.dump.snapshot.short());
        let decoding = Program::new("pg_restore", &tools.program("pg_restore"), subject)
            .arg("--file=/dev/null")
            .start(None)?;
        feed(&self.dump, decoding, true, hash, work).await?;
        Ok(vec![
            Finding {
                what: "dump readable".to_owned(),
                ok: head.entries > 0 || self.dump.database.facts.tables == 0,
                detail: format!(
                    "{} entries, all of them decoded by pg_restore {}",
                    head.entries, tools.version
                ),
            },
            self.as_recorded(bytes, &hex::encode(digest.finalize())),
        ])
    }

    fn as_recorded(&self, bytes: u64, sha256: &str) -> Finding {
        let artifact = &self.dump.artifact;
        let same = bytes == artifact.bytes && sha256 == artifact.sha256;
        Finding {
            what: format!("length and SHA-256 of {}", artifact.name),
            ok: same,
            detail: if same {
                format!("{}, as recorded", Bytes(bytes))
            } else {
                format!(
                    "{bytes} bytes, {sha256}; recorded were {} bytes, {}",
                    artifact.bytes, artifact.sha256
                )
            },
        }
    }

    /// Restores into a new scratch database.
    pub(in crate::source) async fn restore(
        &mut self,
        id: &str,
        host: &str,
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        let how = DatabaseRestore::default();
        let filled = into_scratch(&self.dump, &self.login, &how, id, host, work).await?;
        let (scratch, mut findings) = (filled.scratch, filled.findings);
        findings.push(Finding {
            what: "restored".to_owned(),
            ok: true,
            detail: format!(
                "into scratch database {} on {}",
                scratch.name(),
                self.login.connection.display()
            ),
        });
        self.scratch = Some(scratch);
        Ok(findings)
    }

    /// Compares the scratch database with what was recorded and puts the probes to it.
    pub(in crate::source) async fn probe(
        &self,
        probes: &[SqlProbe],
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        let Some(scratch) = &self.scratch else {
            return Ok(Vec::new());
        };
        let mut findings = compare(&self.dump, &self.login, scratch.name(), None, work).await?;
        let session = self.login.open(scratch.name(), work.clock).await?;
        findings.extend(probe::ask_all(&session, probes, work).await?);
        Ok(findings)
    }

    /// Drops the scratch database.
    pub(in crate::source) async fn clean_up(&mut self) -> Result<(), SourceError> {
        match self.scratch.take() {
            Some(scratch) => scratch.remove().await,
            None => Ok(()),
        }
    }
}
