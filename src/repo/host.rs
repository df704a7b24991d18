//! Who and where we are: what snapshots, keys and locks record.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};

/// The name of this machine, or `localhost` when it has none.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// The name of the user this process runs as, or the number when it has none.
pub fn username() -> String {
    let uid = Uid::effective();
    User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name)
}

/// The user and group this process runs as.
pub fn ids() -> (u32, u32) {
    (Uid::effective().as_raw(), Gid::effective().as_raw())
}

/// Looks up the names of users and groups once each: a tree has many files and few owners.
#[derive(Debug, Default)]
pub struct Names {
    users: Mutex<HashMap<u32, String>>,
    groups: Mutex<HashMap<u32, String>>,
}

impl Names {
    /// The name of a user; empty when there is none.
    pub fn user(&self, uid: u32) -> String {
        cached(&self.users, uid, || {
            User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
        })
    }

    /// The name of a group; empty when there is none.
    pub fn group(&self, gid: u32) -> String {
        cached(&self.groups, gid, || {
            Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name)
        })
    }

    /// Whether this is the name [`Names::user`] gives.
    pub fn is_user(&self, uid: u32, name: &str) -> bool {
        let known = self
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&uid)
            .map(|known| known == name);
        known.unwrap_or_else(|| self.user(uid) == name)
    }

    /// Whether this is the name [`Names::group`] gives.
    pub fn is_group(&self, gid: u32, name: &str) -> bool {
        let known = self
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&gid)
            .map(|known| known == name);
        known.unwrap_or_else(|| self.group(gid) == name)
    }
}

fn cached(map: &Mutex<HashMap<u32, String>>, id: u32, find: impl FnOnce() -> Option<String>) -> String {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    map.entry(id).or_insert_with(|| find().unwrap_or_default()).clone()
}
