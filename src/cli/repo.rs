//! `lifeboat repo`: works on a repository directly, with no configuration and no agent.

use super::args::RepoArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};

/// Runs a verb on a repository.
#[expect(clippy::unused_async, reason = "the repository's verbs are coming")]
pub async fn run(args: RepoArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let _repository = ctx.repository(&args.repository)?;
    Err(CliError::failed("not built yet"))
}
