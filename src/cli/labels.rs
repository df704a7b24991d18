//! `lifeboat snapshot forget`, `pin`, `unpin` and `tag`, on a repository directly.

use serde::Serialize;

use super::args::TagArgs;
use super::context::Ctx;
use super::direct::{of_repo, resolve};
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use crate::repo::{Forgotten, Note, Pin, Repository, Retagged, TagChange, short};

/// Who does it, and why.
pub(super) fn note(ctx: &Ctx, reason: Option<String>) -> Note {
    Note {
        by: format!("{}@{}", ctx.actor.name, ctx.actor.host),
        reason,
    }
}

impl Render for Forgotten {
    fn text(&self, out: &mut Text) {
        for info in &self.trashed {
            out.line(format!("{} is in the trash", info.short_id()));
        }
        for (id, why) in &self.refused {
            out.painted(Paint::Bad, format!("{} stays: {why}", short(id)));
        }
        if !self.trashed.is_empty() {
            out.line("until a prune lets them expire they come back with: lifeboat repo trash restore ID");
        }
    }
}

/// Moves snapshots to the trash.
pub(super) async fn forget(
    repo: &Repository,
    ids: &[String],
    reason: Option<String>,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let mut whole = Vec::with_capacity(ids.len());
    for id in ids {
        whole.push(resolve(repo, id).await?.id);
    }
    let done = repo.forget(&whole, &note(ctx, reason)).await;
    let done = done.map_err(|error| of_repo("the snapshots cannot be forgotten", &error))?;
    ctx.print(&done)?;
    Ok(match (done.refused.is_empty(), done.trashed.is_empty()) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Refused,
        (false, false) => Exit::Partial,
    })
}

impl Render for Pin {
    fn text(&self, out: &mut Text) {
        out.line(format!("{} is pinned by {}", short(&self.snapshot), self.note.by));
        out.maybe("why", self.note.reason.as_deref());
    }
}

/// Pins a snapshot.
pub(super) async fn pin(repo: &Repository, id: &str, reason: Option<String>, ctx: &Ctx) -> Result<Exit, CliError> {
    let id = resolve(repo, id).await?.id;
    let pin = repo.pin(&id, &note(ctx, reason)).await;
    ctx.print(&pin.map_err(|error| of_repo(format!("{} cannot be pinned", short(&id)), &error))?)?;
    Ok(Exit::Done)
}

/// A pin that was removed.
#[derive(Debug, Serialize)]
struct Unpinned {
    unpinned: String,
}

impl Render for Unpinned {
    fn text(&self, out: &mut Text) {
        out.line(format!("{} is no longer pinned", short(&self.unpinned)));
    }
}

/// Removes a pin; that of a snapshot which has vanished too.
pub(super) async fn unpin(repo: &Repository, id: &str, reason: Option<String>, ctx: &Ctx) -> Result<Exit, CliError> {
    let id = match resolve(repo, id).await {
        Ok(found) => found.id,
        Err(_) => id.to_owned(),
    };
    let done = repo.unpin(&id, &note(ctx, reason)).await;
    done.map_err(|error| of_repo(format!("{} cannot be unpinned", short(&id)), &error))?;
    ctx.print(&Unpinned { unpinned: id })?;
    Ok(Exit::Done)
}

impl Render for Retagged {
    fn text(&self, out: &mut Text) {
        if self.old.id == self.new.id {
            out.line(format!("{} has these tags already", self.old.short_id()));
        } else {
            out.line(format!("{} is now {}", self.old.short_id(), self.new.short_id()));
        }
        out.field("tags", self.new.snapshot.tags.join(" "));
    }
}

/// Changes the tags of a snapshot.
pub(super) async fn tag(repo: &Repository, args: TagArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let id = resolve(repo, &args.id).await?.id;
    let change = TagChange {
        add: args.add,
        remove: args.remove,
    };
    let done = repo.tag(&id, &change).await;
    ctx.print(&done.map_err(|error| of_repo(format!("{} keeps its tags", short(&id)), &error))?)?;
    Ok(Exit::Done)
}
