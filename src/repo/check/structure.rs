//! The structure: files, index, trees.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{CheckProblem, CheckReport, ReadData};
use crate::repo::Repository;
use crate::repo::error::RepoError;
use crate::repo::files::FileKind;
use crate::repo::id::{BuildIdHasher, Id};
use crate::repo::index::{Index, IndexFile, IndexPack};
use crate::repo::key::KeyFile;
use crate::repo::pack::{BlobKind, size_of};
use crate::repo::snapshot::SnapshotInfo;
use crate::repo::stop::Stop;

type IdSet = HashSet<Id, BuildIdHasher>;

/// What is known of the repository while it is checked.
#[derive(Debug, Default)]
pub(super) struct Structure {
    pub(super) report: CheckReport,
    pub(super) index: Index,
    /// Packs by id, as the index describes them.
    pub(super) indexed: HashMap<Id, IndexPack, BuildIdHasher>,
    /// Packs in the store, with their sizes.
    pub(super) stored: BTreeMap<Id, u64>,
    snapshots: Vec<SnapshotInfo>,
    /// Only what one snapshot needs is checked.
    pub(super) narrow: bool,
    /// The blobs the snapshots need.
    pub(super) needed: [IdSet; 2],
    trees_seen: IdSet,
    pub(super) bad_packs: IdSet,
    pub(super) bad_blobs: [IdSet; 2],
}

impl Structure {
    pub(super) async fn load(repo: &Repository, only: Option<&str>) -> Result<Self, RepoError> {
        let mut this = Self {
            narrow: only.is_some(),
            ..Self::default()
        };
        // Snapshots before the index: a backup that ends in between must not look like one with missing blobs.
        if let Some(query) = only {
            this.snapshots = vec![repo.snapshot(query).await?];
        } else {
            let (good, damaged) = repo.snapshots_lossy().await?;
            this.snapshots = good;
            for (name, error) in damaged {
                this.add(CheckProblem::new("snapshot", name, error.to_string()));
            }
            this.check_keys(repo).await?;
        }
        this.report.snapshots = this.snapshots.len() as u64;
        this.load_index(repo).await?;
        this.list_packs(repo).await?;
        Ok(this)
    }

    pub(super) fn add(&mut self, problem: CheckProblem) {
        self.report.errors.push(problem);
    }

    async fn check_keys(&mut self, repo: &Repository) -> Result<(), RepoError> {
        for object in repo.retry(None, || repo.store().list("keys/")).await? {
            let name = object.key.trim_start_matches("keys/");
            let data = repo.retry(None, || repo.store().get(&object.key)).await?;
            if Id::of(&data).hex() != name {
                self.add(CheckProblem::new("key", name, "its bytes do not match its name"));
            } else if let Err(error) = serde_json::from_slice::<KeyFile>(&data) {
                self.add(CheckProblem::new("key", name, error.to_string()));
            }
        }
        Ok(())
    }

    async fn load_index(&mut self, repo: &Repository) -> Result<(), RepoError> {
        for (name, _) in repo.list_files(FileKind::Index).await? {
            match repo.load_json::<IndexFile>(FileKind::Index, &name).await {
                Ok(file) => {
                    self.index.add(&file);
                    self.indexed.extend(file.packs.into_iter().map(|pack| (pack.id, pack)));
                }
                Err(error @ RepoError::Damaged { .. }) => {
                    self.add(CheckProblem::new("index", name, error.to_string()));
                }
                // A prune of somebody else replaced it after the listing.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list_packs(&mut self, repo: &Repository) -> Result<(), RepoError> {
        for object in repo.retry(None, || repo.store().list("data/")).await? {
            if let Some(id) = object.key.rsplit('/').next().and_then(Id::parse) {
                self.stored.insert(id, object.size);
            }
        }
        self.report.packs = self.stored.len() as u64;
        let mut problems = Vec::new();
        for (id, pack) in &self.indexed {
            let message = match self.stored.get(id) {
                None => "the index names it, the store does not have it".to_owned(),
                Some(size) if *size != size_of(&pack.blobs) => {
                    format!("it has {size} bytes, its blobs add up to {}", size_of(&pack.blobs))
                }
                Some(_) => continue,
            };
            problems.push((*id, message));
        }
        for (id, message) in problems {
            self.bad_packs.insert(id);
            self.add(CheckProblem::new("pack", id.hex(), message));
        }
        let orphans = self.stored.keys().filter(|id| !self.indexed.contains_key(*id)).count();
        if orphans > 0 {
            self.report.notes.push(format!(
                "{orphans} packs are in no index: leftovers of interrupted backups"
            ));
        }
        Ok(())
    }

    /// Opens every tree of the snapshots and looks for every blob.
    pub(super) async fn walk(&mut self, repo: &Repository, stop: &Stop) -> Result<(), RepoError> {
        let mut todo: Vec<Id> = self.snapshots.iter().map(|info| info.snapshot.tree).collect();
        while let Some(tree) = todo.pop() {
            stop.result()?;
            if !self.trees_seen.insert(tree) {
                continue;
            }
            self.needed[BlobKind::Tree as usize].insert(tree);
            let nodes = match repo.load_tree(&self.index, &tree).await {
                Ok(nodes) => nodes,
                Err(error) if concerns_one_file(&error) => {
                    self.bad_blobs[BlobKind::Tree as usize].insert(tree);
                    self.add(CheckProblem::new("tree", tree.hex(), error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for node in nodes {
                todo.extend(node.subtree);
                for id in node.content {
                    let new = self.needed[BlobKind::Data as usize].insert(id);
                    if new && !self.index.has(BlobKind::Data, &id) {
                        self.bad_blobs[BlobKind::Data as usize].insert(id);
                        self.add(CheckProblem::new("blob", id.hex(), "it is not in the index"));
                    }
                }
            }
        }
        self.report.blobs = self.needed.iter().map(|set| set.len() as u64).sum();
        Ok(())
    }

    /// The packs to read.
    pub(super) fn choose(&self, read: ReadData) -> Vec<Id> {
        let needed = |pack: &IndexPack| {
            !self.narrow
                || pack
                    .blobs
                    .iter()
                    .any(|blob| self.needed[blob.kind as usize].contains(&blob.id))
        };
        let there = |id: &Id| self.stored.contains_key(id);
        let packs = self.indexed.values().filter(|pack| there(&pack.id) && needed(pack));
        let packs: Vec<Id> = packs.map(|pack| pack.id).collect();
        let chosen = |id: &Id| match read {
            ReadData::None => false,
            ReadData::All | ReadData::Bytes(_) => true,
            ReadData::Part { part, of } => u32::from(id.0[0]) % of.max(1) == part.saturating_sub(1) % of.max(1),
            ReadData::Percent(percent) => (getrandom::u32().unwrap_or(0) % 10_000) < hundredths(percent),
        };
        let mut packs: Vec<Id> = packs.into_iter().filter(chosen).collect();
        if let ReadData::Bytes(most) = read {
            packs.sort_by_cached_key(|_| getrandom::u32().unwrap_or(0));
            let mut read = 0;
            packs.retain(|id| {
                let wanted = read < most;
                read += if wanted {
                    self.stored.get(id).copied().unwrap_or(0)
                } else {
                    0
                };
                wanted
            });
        }
        packs
    }

    /// Finds the snapshots that each problem hurts; walks again only when there are problems.
    pub(super) async fn blame(&mut self, repo: &Repository, stop: &Stop) -> Result<(), RepoError> {
        if self
            .report
            .errors
            .iter()
            .all(|problem| problem.kind == "snapshot" || problem.kind == "key")
        {
            return Ok(());
        }
        let mut hurt: HashMap<String, Vec<String>> = HashMap::new();
        for info in self.snapshots.clone() {
            let mut seen = IdSet::default();
            let mut bad: HashSet<String> = HashSet::new();
            let mut todo = vec![info.snapshot.tree];
            while let Some(tree) = todo.pop() {
                stop.result()?;
                if !seen.insert(tree) {
                    continue;
                }
                self.collect_bad(BlobKind::Tree, &tree, &mut bad);
                // What cannot be read was reported by the walk.
                let Ok(nodes) = repo.load_tree(&self.index, &tree).await else {
                    continue;
                };
                for node in nodes {
                    todo.extend(node.subtree);
                    node.content
                        .iter()
                        .for_each(|id| self.collect_bad(BlobKind::Data, id, &mut bad));
                }
            }
            for file in bad {
                hurt.entry(file).or_default().push(info.short_id().to_owned());
            }
        }
        for problem in &mut self.report.errors {
            problem.snapshots = hurt.get(&problem.file).cloned().unwrap_or_default();
        }
        Ok(())
    }

    fn collect_bad(&self, kind: BlobKind, id: &Id, bad: &mut HashSet<String>) {
        if self.bad_blobs[kind as usize].contains(id) {
            bad.insert(id.hex());
        }
        if let Some(at) = self.index.find(kind, id) {
            let pack = self.index.pack(&at);
            if self.bad_packs.contains(&pack) {
                bad.insert(pack.hex());
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to 0..=10000"
)]
fn hundredths(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 100.0).ceil() as u32
}

/// Whether an error says that one stored file is bad, rather than that the store does not answer.
fn concerns_one_file(error: &RepoError) -> bool {
    use crate::store::ErrorKind;
    match error {
        RepoError::Damaged { .. } | RepoError::MissingBlob { .. } => true,
        RepoError::Store(error) => matches!(error.kind, ErrorKind::NotFound | ErrorKind::ShortRead),
        _ => false,
    }
}
