//! The plan: what is there already, what has to be written, and which blobs that takes; window by window.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Stat};

use super::compare::{Comparison, Local};
use super::meta;
use super::select::{Item, Selection, Window};
use super::target::Target;
use super::{Overwrite, RestoreOptions, RestorePlan};
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::progress::Progress;
use crate::repo::stop::{Stop, Stopped};

/// How many names of overwritten files a plan shows.
const NAMES_SHOWN: usize = 20;

/// What happens to one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Action {
    /// A new file, after removing what is there.
    #[default]
    Create,
    /// Only the blobs that differ, into the file that is there.
    Patch,
    /// The content and the metadata are the same already, or were set while it was compared.
    Same,
    /// It stays as it is.
    Keep,
    /// The snapshot lacks a blob of it.
    Broken,
}

/// How far a plan looks at what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Contents are compared.
    Contents,
    /// Only names, sizes and times are looked at; a file that may differ counts as one that differs everywhere.
    Nothing,
}

/// A blob of a file: where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Packs in the order of their first use, and the offset in the pack.
    order: u64,
    pub(super) blob: u32,
    pub(super) file: u32,
    pub(super) offset: u64,
}

/// What a window comes to.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) window: Window,
    pub(super) actions: Vec<Action>,
    /// How many places of each file are still to be written.
    pub(super) pending: Vec<u32>,
    /// Sorted by pack and offset, packs in the order of their first use; the places of a blob stand together.
    pub(super) places: Vec<Place>,
    /// Files with a blob that is not in the index.
    pub(super) broken: Vec<(usize, Id)>,
    /// Files whose metadata could not be put right, and why.
    pub(super) refused: Vec<(usize, String)>,
}

/// A set of small numbers: a bit for each.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Whether the number was not in the set before.
    fn insert(&mut self, number: u32) -> bool {
        let Some(word) = self.0.get_mut(number as usize / 64) else {
            return false;
        };
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * 64 + bit)
        })
    }
}

/// What the comparison says of one file.
#[derive(Debug, Default)]
struct Verdict {
    action: Action,
    there: bool,
    /// What it takes on the disk.
    held: u64,
    /// What is there has the right size.
    sized: bool,
    /// Which blobs are in place; empty when none is.
    same: Vec<bool>,
    refused: Option<String>,
}

/// Plans window after window and adds up.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    index: &'a Index,
    options: &'a RestoreOptions,
    target: Option<&'a Target>,
    reading: Reading,
    stop: &'a Stop,
    /// When set, files that are the same get their metadata at once, and totals grow with the windows.
    acting: Option<&'a Progress>,
    blobs: Bits,
    packs: Bits,
    pub(super) totals: RestorePlan,
}

impl<'a> Planner<'a> {
    /// A planner that changes nothing, or with `acting` one that puts right the metadata of files that are the same.
    pub(super) fn new(
        selection: &'a Selection,
        options: &'a RestoreOptions,
        (target, reading): (Option<&'a Target>, Reading),
        stop: &'a Stop,
        acting: Option<&'a Progress>,
    ) -> Self {
        let index = &selection.index;
        Self {
            index,
            options,
            target,
            reading,
            stop,
            acting,
            blobs: Bits::new(index.count(BlobKind::Data)),
            packs: Bits::new(index.packs().len()),
            totals: RestorePlan {
                snapshot: selection.snapshot.id.clone(),
                target: options.target.clone(),
                ..RestorePlan::default()
            },
        }
    }

    /// The packs that are needed, as far as was planned.
    pub(super) fn packs(&self) -> Vec<Id> {
        let numbers = self.packs.iter();
        let packs: BTreeSet<Id> = numbers.filter_map(|at| self.index.packs().get(at).copied()).collect();
        packs.into_iter().collect()
    }

    /// Compares one window with the target and says what to do.
    pub(super) fn window(&mut self, window: Window) -> Result<Work, Stopped> {
        let verdicts = self.verdicts(&window.files);
        self.stop.check()?;
        self.totals.dirs += window.make.len() as u64;
        self.totals.others += (window.others.len() + window.links.len()) as u64;
        let mut work = Work {
            actions: Vec::with_capacity(window.files.len()),
            pending: vec![0; window.files.len()],
            places: Vec::new(),
            broken: Vec::new(),
            refused: Vec::new(),
            window: Window::default(),
        };
        let mut ranks = HashMap::new();
        for (number, (item, verdict)) in window.files.iter().zip(verdicts).enumerate() {
            self.file(&mut work, &mut ranks, (number, item), verdict);
        }
        let mut local = Local::default();
        let named = window.others.iter().map(|item| &item.path);
        for path in named.chain(window.links.iter().map(|link| &link.path)) {
            if local.stat(self.target, path).is_none() {
                continue;
            }
            if self.options.overwrite == Overwrite::Never {
                self.totals.kept += 1;
            } else {
                self.overwrite(path);
            }
        }
        work.places
            .sort_unstable_by_key(|place| (place.order, place.blob, place.file, place.offset));
        work.window = window;
        Ok(work)
    }

    /// Looks at what is there, on all cores.
    fn verdicts(&self, files: &[Item]) -> Vec<Verdict> {
        let verdicts: Vec<Mutex<Verdict>> = std::iter::repeat_with(Mutex::default).take(files.len()).collect();
        let lock = |number: usize| verdicts[number].lock().unwrap_or_else(PoisonError::into_inner);
        let look = |number: usize, local: &mut Local| {
            let item = &files[number];
            let there = local.stat(self.target, &item.path);
            let mut verdict = lock(number);
            verdict.there = there.is_some();
            verdict.held = there.map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512);
            verdict.sized = there.is_some_and(|stat| u64::try_from(stat.st_size) == Ok(item.node.size));
            verdict.action = self.decide(item, there.as_ref());
            verdict.action == Action::Patch && self.reading == Reading::Contents
        };
        let Some(target) = self.target else {
            return std::iter::repeat_with(Verdict::default).take(files.len()).collect();
        };
        let seen = |number: usize, handle: Option<&std::fs::File>, same: Vec<bool>| {
            let mut verdict = lock(number);
            if let Some(handle) = handle
                && verdict.sized
                && same.len() == files[number].node.content.len()
                && same.iter().all(|same| *same)
            {
                verdict.action = Action::Same;
                if self.acting.is_some() {
                    verdict.refused = meta::put_right(handle, &files[number].node).err();
                }
            }
            verdict.same = same;
        };
        let comparison = Comparison {
            index: self.index,
            target,
            stop: self.stop,
        };
        comparison.run(files, look, seen);
        let open = |verdict: Mutex<Verdict>| verdict.into_inner().unwrap_or_else(PoisonError::into_inner);
        verdicts.into_iter().map(open).collect()
    }

    fn decide(&self, item: &Item, there: Option<&Stat>) -> Action {
        let Some(stat) = there else { return Action::Create };
        let newer = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
            >= (item.node.mtime.secs, i64::from(item.node.mtime.nanos));
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // A file with names beyond the snapshot's would change under all of them.
        let own = stat.st_nlink == 1 || stat.st_nlink == item.node.links;
        let stays = self.options.delta && regular && own;
        match self.options.overwrite {
            Overwrite::Never => Action::Keep,
            Overwrite::IfNewer if newer => Action::Keep,
            _ if stays && self.options.quick && meta::seems_same(stat, &item.node) => Action::Same,
            _ if stays => Action::Patch,
            _ => Action::Create,
        }
    }

    fn file(
        &mut self,
        work: &mut Work,
        ranks: &mut HashMap<u32, u64>,
        (number, item): (usize, &Item),
        verdict: Verdict,
    ) {
        let mut action = verdict.action;
        if matches!(action, Action::Create | Action::Patch) {
            let missing = item.node.content.iter().find(|id| !self.index.has(BlobKind::Data, id));
            if let Some(missing) = missing {
                work.broken.push((number, *missing));
                action = Action::Broken;
            }
        }
        match action {
            Action::Create | Action::Patch => {
                self.totals.files += 1;
                if verdict.there {
                    self.overwrite(&item.path);
                }
                let before = self.totals.bytes_to_write;
                self.want(work, ranks, (number, item), &verdict.same);
                if action == Action::Patch {
                    self.totals.bytes_in_place += verdict.held.min(self.totals.bytes_to_write - before);
                }
            }
            Action::Same => self.totals.unchanged += 1,
            Action::Keep => self.totals.kept += 1,
            Action::Broken => {}
        }
        work.refused.extend(verdict.refused.map(|why| (number, why)));
        work.actions.push(action);
    }

    fn want(&mut self, work: &mut Work, ranks: &mut HashMap<u32, u64>, (number, item): (usize, &Item), same: &[bool]) {
        let mut offset = 0;
        for (position, id) in item.node.content.iter().enumerate() {
            let found = self.index.number(BlobKind::Data, id);
            let Some((blob, (_, at))) = found.and_then(|blob| Some((blob, self.index.numbered(BlobKind::Data, blob)?)))
            else {
                continue;
            };
            if !same.get(position).copied().unwrap_or(false) {
                let next = ranks.len() as u64;
                let rank = *ranks.entry(at.pack_number()).or_insert(next);
                work.places.push(Place {
                    order: rank << 32 | u64::from(at.offset),
                    blob,
                    // A window has no more than some ten thousand files.
                    file: u32::try_from(number).unwrap_or(u32::MAX),
                    offset,
                });
                work.pending[number] += 1;
                self.totals.bytes_to_write += at.plain_length();
                if self.packs.insert(at.pack_number()) {
                    self.totals.packs += 1;
                }
                if self.blobs.insert(blob) {
                    self.totals.blobs += 1;
                    self.totals.bytes_to_fetch += u64::from(at.length);
                }
            }
            offset += at.plain_length();
        }
    }

    fn overwrite(&mut self, path: &std::path::Path) {
        self.totals.overwritten += 1;
        if self.totals.overwritten_names.len() < NAMES_SHOWN {
            self.totals.overwritten_names.push(path.display().to_string());
        }
    }
}
