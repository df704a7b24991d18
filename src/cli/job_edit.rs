//! `lifeboat job add|remove`: jobs as files of their own in `conf.d`.

use super::args::JobAddArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};

/// Adds a job.
pub fn add(ctx: &Ctx, _args: JobAddArgs) -> Result<Exit, CliError> {
    ctx.may_change("add a job")?;
    Err(CliError::failed("not built yet"))
}

/// Removes a job that was added this way.
pub fn remove(ctx: &Ctx, _name: &str) -> Result<Exit, CliError> {
    ctx.may_change("remove a job")?;
    Err(CliError::failed("not built yet"))
}
