//! Asking before something that exists is overwritten.

use std::io::{BufRead, IsTerminal, Write};

use super::context::Ctx;
use super::error::CliError;
use super::output::Render;

/// Asks for the target's name, unless `--yes` gave it already.
///
/// # Errors
/// Refused when nobody can be asked, or the name is another.
pub(super) fn confirm(ctx: &Ctx, what: &str, name: &str, yes: Option<&str>) -> Result<(), CliError> {
    confirm_as(ctx, "the restore", what, name, yes)
}

/// Asks for a name before `work` changes something, unless `--yes` gave it already.
///
/// # Errors
/// Refused when nobody can be asked, or the name is another.
pub(super) fn confirm_as(ctx: &Ctx, work: &str, what: &str, name: &str, yes: Option<&str>) -> Result<(), CliError> {
    let refused = |why: String| {
        CliError::refused(format!("{work} was not confirmed; nothing was changed"))
            .why(why)
            .hint(format!("confirm with: --yes {name}"))
    };
    let typed = match yes {
        Some(yes) => yes.to_owned(),
        None if std::io::stdin().is_terminal() && !ctx.out.json => {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "{what}.\nType {name} to go on: ").and_then(|()| err.flush());
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| refused(error.to_string()))?;
            line.trim().to_owned()
        }
        None => return Err(refused(what.to_owned())),
    };
    if typed == name {
        Ok(())
    } else {
        Err(refused(format!("\"{typed}\" is not what had to be typed; {what}")))
    }
}

/// A change of something that exists, in the words of its questions and refusals.
pub(super) struct Change<'a> {
    /// With a verb: `switch databases`.
    pub(super) doing: &'a str,
    /// As a noun: `the switch`.
    pub(super) work: &'a str,
    /// What it does, as a sentence.
    pub(super) what: String,
    /// The name that has to be typed.
    pub(super) name: &'a str,
}

/// Shows a plan, and has it confirmed; whether to go on, which is not so when only the plan was asked for.
///
/// # Errors
/// Refused when nothing may be changed, nobody can be asked, or the name is another.
pub(super) fn go_on(
    ctx: &Ctx,
    plan: &impl Render,
    change: &Change<'_>,
    only_plan: bool,
    yes: Option<&str>,
) -> Result<bool, CliError> {
    if only_plan {
        ctx.print(plan)?;
        return Ok(false);
    }
    ctx.may_change(change.doing)?;
    if !ctx.out.json && yes.is_none() {
        ctx.print(plan)?;
    }
    confirm_as(ctx, change.work, &change.what, change.name, yes)?;
    Ok(true)
}
