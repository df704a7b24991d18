//! `lifeboat backup`: a snapshot of paths, with no configuration and no agent.

use super::args::BackupArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};

/// Makes a snapshot of paths.
#[expect(clippy::unused_async, reason = "the repository's verbs are coming")]
pub async fn run(args: BackupArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let _repository = ctx.repository(&args.repository)?;
    Err(CliError::failed("not built yet"))
}
