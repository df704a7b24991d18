//! `lifeboat restore` from a repository directly, with no agent.

use super::args::RestoreArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};
use crate::domain::job::RepositoryDefinition;

/// Restores a snapshot of a repository.
#[expect(clippy::unused_async, reason = "the repository's verbs are coming")]
pub async fn run(_args: RestoreArgs, _repository: &RepositoryDefinition, _ctx: &Ctx) -> Result<Exit, CliError> {
    Err(CliError::failed("not built yet"))
}
