//! `lifeboat snapshot` on a repository directly, with no agent.

use super::args::SnapshotCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use crate::domain::job::RepositoryDefinition;

/// Runs a verb on the snapshots of a repository.
#[expect(clippy::unused_async, reason = "the repository's verbs are coming")]
pub async fn run(_command: SnapshotCommand, _repository: &RepositoryDefinition, _ctx: &Ctx) -> Result<Exit, CliError> {
    Err(CliError::failed("not built yet"))
}
