//! The plan: what is there already, what has to be written, and which blobs that takes.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::select::{Item, Selection};
use super::target::{DirCache, Target};
use super::{Overwrite, RestoreOptions, RestorePlan};
use crate::repo::id::{BuildIdHasher, Id};
use crate::repo::index::{Index, Location};
use crate::repo::pack::BlobKind;
use crate::repo::stop::{Stop, Stopped};

/// How many names of overwritten files a plan shows.
const NAMES_SHOWN: usize = 20;

/// What happens to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A new file, after removing what is there.
    Create,
    /// Only the blobs that differ, into the file that is there.
    Patch,
    /// The content is the same already; the metadata is set.
    Same,
    /// It stays as it is.
    Keep,
    /// The snapshot lacks a blob of it.
    Broken,
}

/// A blob to fetch and the places it goes to.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) id: Id,
    pub(super) at: Location,
    /// File and offset.
    pub(super) places: Vec<(u32, u64)>,
}

/// What the plan comes to.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) actions: Vec<Action>,
    /// How many places of each file are still to be written.
    pub(super) pending: Vec<u32>,
    /// Sorted by pack and offset, packs in the order of their first use.
    pub(super) wants: Vec<Want>,
    /// Files with a blob that is not in the index.
    pub(super) broken: Vec<(usize, Id)>,
    pub(super) plan: RestorePlan,
}

/// Compares the selection with the target. Reads, and changes nothing.
pub(super) fn make(
    selection: &Selection,
    options: &RestoreOptions,
    target: Option<&Target>,
    stop: &Stop,
) -> Result<Work, Stopped> {
    let plan = RestorePlan {
        snapshot: selection.snapshot.id.clone(),
        target: options.target.clone(),
        dirs: selection.dirs.len() as u64,
        others: (selection.others.len() + selection.links.len()) as u64,
        ..RestorePlan::default()
    };
    let files = selection.files.len();
    let mut planner = Planner {
        index: &selection.index,
        options,
        target,
        dirs: DirCache::default(),
        missing_dir: None,
        wanted: HashMap::default(),
        work: Work {
            actions: Vec::with_capacity(files),
            pending: vec![0; files],
            wants: Vec::new(),
            broken: Vec::new(),
            plan,
        },
    };
    for (number, item) in selection.files.iter().enumerate() {
        stop.check()?;
        planner.file(number, item, stop)?;
    }
    for item in &selection.others {
        planner.count_overwritten(&item.path);
    }
    for link in &selection.links {
        planner.count_overwritten(&link.path);
    }
    Ok(planner.finish())
}

struct Planner<'a> {
    index: &'a Index,
    options: &'a RestoreOptions,
    target: Option<&'a Target>,
    dirs: DirCache,
    /// A directory that is not there, so that nothing below it need be looked for.
    missing_dir: Option<std::path::PathBuf>,
    wanted: HashMap<Id, usize, BuildIdHasher>,
    work: Work,
}

impl Planner<'_> {
    fn file(&mut self, number: usize, item: &Item, stop: &Stop) -> Result<(), Stopped> {
        let there = self.stat(&item.path);
        let mut same = Vec::new();
        let mut action = self.decide(item, there.as_ref());
        if action == Action::Patch {
            same = self.compare(item, stop)?.unwrap_or_default();
            let whole = same.len() == item.node.content.len() && same.iter().all(|same| *same);
            let sized = there.is_some_and(|stat| u64::try_from(stat.st_size) == Ok(item.node.size));
            if whole && sized {
                action = Action::Same;
            }
        }
        let missing = || item.node.content.iter().find(|id| !self.index.has(BlobKind::Data, id));
        if matches!(action, Action::Create | Action::Patch)
            && let Some(missing) = missing()
        {
            self.work.broken.push((number, *missing));
            action = Action::Broken;
        }
        match action {
            Action::Create | Action::Patch => {
                self.work.plan.files += 1;
                if there.is_some() {
                    self.overwrite(&item.path);
                }
                self.want(number, item, &same);
            }
            Action::Same => self.work.plan.unchanged += 1,
            Action::Keep => self.work.plan.kept += 1,
            Action::Broken => {}
        }
        self.work.actions.push(action);
        Ok(())
    }

    fn decide(&self, item: &Item, there: Option<&Stat>) -> Action {
        let Some(stat) = there else { return Action::Create };
        let newer = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
            >= (item.node.mtime.secs, i64::from(item.node.mtime.nanos));
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        match self.options.overwrite {
            Overwrite::Never => Action::Keep,
            Overwrite::IfNewer if newer => Action::Keep,
            // A file with names beyond the snapshot's would change under all of them.
            _ if self.options.delta && regular && (stat.st_nlink == 1 || stat.st_nlink == item.node.links) => {
                Action::Patch
            }
            _ => Action::Create,
        }
    }

    fn stat(&mut self, path: &Path) -> Option<Stat> {
        let target = self.target?;
        if self
            .missing_dir
            .as_ref()
            .is_some_and(|missing| path.starts_with(missing))
        {
            return None;
        }
        if let Ok(dir) = self.dirs.parent(target, path) {
            return dir.stat(path).ok().flatten();
        }
        self.missing_dir = path.parent().map(Path::to_path_buf);
        None
    }

    /// Which blobs of a file are there already; `None` when it cannot be read.
    fn compare(&mut self, item: &Item, stop: &Stop) -> Result<Option<Vec<bool>>, Stopped> {
        let Some(target) = self.target else { return Ok(None) };
        let Ok(file) = self
            .dirs
            .parent(target, &item.path)
            .and_then(|dir| dir.open(&item.path, false))
        else {
            return Ok(None);
        };
        let mut buffer = Vec::new();
        let mut offset = 0;
        let mut same = Vec::with_capacity(item.node.content.len());
        for id in &item.node.content {
            stop.check()?;
            let length = self.index.find(BlobKind::Data, id).map_or(0, |at| at.plain_length());
            same.push(holds(&file, offset, length, id, &mut buffer));
            offset += length;
        }
        Ok(Some(same))
    }

    fn want(&mut self, number: usize, item: &Item, same: &[bool]) {
        let mut offset = 0;
        for (position, id) in item.node.content.iter().enumerate() {
            let Some(at) = self.index.find(BlobKind::Data, id) else {
                continue;
            };
            if !same.get(position).copied().unwrap_or(false) {
                let next = self.work.wants.len();
                let slot = *self.wanted.entry(*id).or_insert(next);
                if slot == next {
                    self.work.wants.push(Want {
                        id: *id,
                        at,
                        places: Vec::new(),
                    });
                    self.work.plan.bytes_to_fetch += u64::from(at.length);
                }
                // More than four billion files do not fit into memory here anyway.
                self.work.wants[slot]
                    .places
                    .push((u32::try_from(number).unwrap_or(u32::MAX), offset));
                self.work.pending[number] += 1;
                self.work.plan.bytes_to_write += at.plain_length();
            }
            offset += at.plain_length();
        }
    }

    fn overwrite(&mut self, path: &Path) {
        self.work.plan.overwritten += 1;
        if self.work.plan.overwritten_names.len() < NAMES_SHOWN {
            self.work.plan.overwritten_names.push(path.display().to_string());
        }
    }

    fn count_overwritten(&mut self, path: &Path) {
        if self.stat(path).is_none() {
            return;
        }
        if self.options.overwrite == Overwrite::Never {
            self.work.plan.kept += 1;
        } else {
            self.overwrite(path);
        }
    }

    fn finish(mut self) -> Work {
        let mut first_use: HashMap<u32, usize> = HashMap::new();
        for want in &self.work.wants {
            let next = first_use.len();
            first_use.entry(want.at.pack_number()).or_insert(next);
        }
        self.work
            .wants
            .sort_by_key(|want| (first_use[&want.at.pack_number()], want.at.offset));
        self.work.plan.packs = first_use.len() as u64;
        self.work.plan.blobs = self.work.wants.len() as u64;
        self.work
    }
}

/// Whether a file holds a blob at an offset.
pub(super) fn holds(file: &std::fs::File, offset: u64, length: u64, id: &Id, buffer: &mut Vec<u8>) -> bool {
    let mut read = || -> io::Result<bool> {
        buffer.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        file.read_exact_at(buffer, offset)?;
        Ok(Id::of(buffer) == *id)
    };
    read().unwrap_or(false)
}
