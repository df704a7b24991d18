//! `lifeboat wal receive`: runs until it is asked to stop, and tells on the error stream what happens.

use tokio::signal::unix::{SignalKind, signal};

use super::of_wal;
use crate::cli::args::ReceiveArgs;
use crate::cli::context::Ctx;
use crate::cli::direct;
use crate::cli::error::{CliError, Exit};
use crate::cli::server::login_of;
use crate::domain::job::RepositoryDefinition;
use crate::source::postgres::wal::receive::{self, Note, ReceiveOptions};

pub(super) async fn run(args: &ReceiveArgs, definition: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    let (login, database) = login_of(&args.server, ctx).await?;
    let options = ReceiveOptions {
        login,
        database,
        slot: args.slot.clone(),
        dir: args.dir.clone(),
        growing_every: args.partial_every.to_std(),
        limit: args.limit,
    };
    // Taken before anything is begun, so that nothing that was begun can be left behind by a signal.
    let stop = ctx.interrupts().stop;
    let mut terminated = signal(SignalKind::terminate())?;
    let on_signal = stop.clone();
    let watch = tokio::spawn(async move {
        terminated.recv().await;
        on_signal.cancel();
    });
    let repo = direct::open(definition, ctx).await?;
    let tell = |note: Note| {
        let chatty = matches!(note, Note::Reached(_) | Note::Archived(_));
        if !chatty || ctx.global.verbose > 0 {
            ctx.out.remark(&note.to_string());
        }
    };
    let ended = receive::run(&options, &repo, &tell, &ctx.clock, &stop).await;
    watch.abort();
    ended.map_err(|error| of_wal("the log is not received any more", &error))?;
    ctx.out
        .remark("stopped; what was received is archived or waits in the directory");
    Ok(Exit::Cancelled)
}
