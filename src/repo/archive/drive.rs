//! The driver: walks the paths in the order of the tree and tells the readers and the builder what to do.
//!
//! Several paths make one tree: `/etc` and `/srv/www` become a root with `etc` and `srv`, and `srv` holds `www` only.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::build::{Event, Left};
use super::exclude::Excludes;
use super::read::FileJob;
use super::scan::{Base, Entry, Known, Scanner, Slot, item};
use super::ticket::Ticket;
use super::{BackupOptions, ItemError, meta};
use crate::repo::DESCRIPTION_NAME;
use crate::repo::error::{RepoError, plain};
use crate::repo::id::Id;
use crate::repo::stop::Stopped;
use crate::repo::tree::{Node, NodeKind};

/// The paths to back up as a tree; a leaf is a path somebody named.
#[derive(Debug, Default)]
pub(super) struct Targets {
    named: bool,
    below: BTreeMap<OsString, Targets>,
}

impl Targets {
    /// The paths that are there, and an error for each that is not, also below another path that is.
    pub(super) fn new(paths: &[PathBuf]) -> (Self, Vec<ItemError>) {
        let mut root = Self::default();
        let mut missing = Vec::new();
        for path in paths {
            if let Err(error) = std::fs::symlink_metadata(path) {
                missing.push(item(path, &plain(&error)));
                continue;
            }
            let mut here = &mut root;
            for part in path.components() {
                if let Component::Normal(name) = part {
                    here = here.below.entry(name.to_owned()).or_default();
                }
            }
            here.named = true;
        }
        (root, missing)
    }
}

/// Makes a path absolute, without `.`, `..` and without following the last component.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, RepoError> {
    let fail = |error: std::io::Error| RepoError::local("find", path, &error);
    let whole = std::path::absolute(path).map_err(fail)?;
    if whole.components().any(|part| part == Component::ParentDir) {
        return std::fs::canonicalize(&whole).map_err(fail);
    }
    Ok(whole.components().collect())
}

/// What the driver works with.
pub(super) struct Driver<'a> {
    pub(super) scanner: &'a Scanner,
    pub(super) options: &'a BackupOptions,
    pub(super) files: Sender<FileJob>,
    pub(super) events: Sender<Event>,
    /// Files with several names are read once.
    pub(super) linked: HashMap<(u64, u64), Arc<Ticket>>,
}

type Walk = Result<(), Stopped>;

impl Driver<'_> {
    /// Walks everything; `before` is the root tree of the parent snapshot.
    pub(super) fn run(
        &mut self,
        targets: &Targets,
        missing: Vec<ItemError>,
        before: Option<Id>,
        description: Option<Node>,
    ) -> Walk {
        for error in missing {
            self.say(Event::Error(error))?;
        }
        self.say(Event::Enter(before))?;
        let mut description = description;
        if targets.named {
            // The root of the file system itself; its entries stand at the root of the tree.
            let base = self.base(Path::new("/"));
            self.directory_entries(&Slot::new(PathBuf::from("/"), before, base))?;
        } else {
            let nodes = self.scanner.load_before(before).unwrap_or_default();
            for (name, target) in &targets.below {
                if description.is_some() && name.as_bytes() > DESCRIPTION_NAME.as_bytes() {
                    self.describe(description.take())?;
                }
                let before = nodes.iter().find(|node| node.name == name.as_bytes());
                self.target(&Path::new("/").join(name), name, target, before)?;
            }
            self.describe(description)?;
        }
        self.say(Event::Leave(Left::Root))
    }

    fn say(&self, event: Event) -> Walk {
        self.events.send(event).map_err(|_| Stopped)
    }

    fn describe(&self, description: Option<Node>) -> Walk {
        description.map_or(Ok(()), |node| {
            self.say(Event::Entry {
                node,
                known: Known::Changed,
            })
        })
    }

    fn base(&self, path: &Path) -> Arc<Base> {
        // The patterns were compiled once before the walk began, so they are sound.
        let excludes = Excludes::new(&self.options.excludes, path)
            .unwrap_or_else(|_| unreachable!("the patterns were checked before the walk began"));
        let device = std::fs::symlink_metadata(path).ok().map(|meta| meta.dev());
        Arc::new(Base {
            excludes,
            device: device.filter(|_| self.options.one_file_system),
        })
    }

    /// A path somebody named, or a directory on the way to one.
    fn target(&mut self, path: &Path, name: &OsString, target: &Targets, before: Option<&Node>) -> Walk {
        // On the way a link is followed: what is named below it lies where it points to.
        let meta = if target.named {
            std::fs::symlink_metadata(path)
        } else {
            std::fs::metadata(path)
        };
        let meta = match meta {
            Ok(meta) => meta,
            Err(error) => return self.say(Event::Error(item(path, &plain(&error)))),
        };
        let mut node = meta::node(name.as_bytes(), &meta, self.scanner.names());
        if let Err(why) = meta::complete(&mut node, path) {
            self.say(Event::Error(item(path, &why)))?;
        }
        let subtree = before.and_then(|before| before.subtree);
        if target.named {
            let dir = (node.kind == NodeKind::Dir).then(|| Slot::new(path.to_path_buf(), subtree, self.base(path)));
            let known = self.scanner.compare(&mut node, before);
            return self.entry(path, Entry { node, known, dir });
        }
        self.say(Event::Enter(subtree))?;
        let nodes = self.scanner.load_before(subtree).unwrap_or_default();
        for (name, target) in &target.below {
            let before = nodes.iter().find(|node| node.name == name.as_bytes());
            self.target(&path.join(name), name, target, before)?;
        }
        node.kind = NodeKind::Dir;
        self.say(Event::Leave(Left::Node(Box::new(node))))
    }

    fn directory_entries(&mut self, slot: &Slot) -> Walk {
        let listing = self.scanner.take(slot)?;
        for error in listing.errors {
            self.say(Event::Error(error))?;
        }
        if let Some(same) = listing.same {
            self.say(Event::Same {
                files: same.files,
                bytes: same.bytes,
            })?;
            for (name, slot) in same.dirs {
                self.say(Event::Enter(slot.before))?;
                self.directory_entries(&slot)?;
                self.say(Event::Leave(Left::Same(name)))?;
            }
        }
        for entry in listing.entries {
            let path = slot.path.join(std::ffi::OsStr::from_bytes(&entry.node.name));
            self.entry(&path, entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, entry: Entry) -> Walk {
        let Entry { node, known, dir } = entry;
        if let Some(slot) = dir {
            self.say(Event::Enter(slot.before))?;
            self.directory_entries(&slot)?;
            return self.say(Event::Leave(Left::Node(Box::new(node))));
        }
        if node.kind != NodeKind::File || known == Known::Same {
            return self.say(Event::Entry { node, known });
        }
        let path = path.to_path_buf();
        let inode = (node.device_id, node.inode);
        if let Some(ticket) = (node.links > 1).then(|| self.linked.get(&inode)).flatten() {
            let ticket = Arc::clone(ticket);
            return self.say(Event::File {
                node,
                known,
                path,
                ticket,
            });
        }
        let ticket = Ticket::new();
        if node.links > 1 {
            self.linked.insert(inode, Arc::clone(&ticket));
        }
        let job = FileJob {
            path: path.clone(),
            ticket: Arc::clone(&ticket),
        };
        self.files.send(job).map_err(|_| Stopped)?;
        self.say(Event::File {
            node,
            known,
            path,
            ticket,
        })
    }
}
