//! Asking before something that exists is overwritten.

use std::io::{BufRead, IsTerminal, Write};

use super::context::Ctx;
use super::error::CliError;

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
