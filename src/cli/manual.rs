//! `lifeboat completions` and `lifeboat man`: the table of options in other forms.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::error::{CliError, Exit};
use super::output::raw;

/// Prints shell completions.
pub fn completions(shell: Shell) -> Result<Exit, CliError> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lifeboat", &mut bytes);
    raw(&bytes)?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes one a command into a directory.
pub fn man(directory: Option<&Path>) -> Result<Exit, CliError> {
    let Some(directory) = directory else {
        let mut bytes = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut bytes)?;
        raw(&bytes)?;
        return Ok(Exit::Done);
    };
    let failed = |error: io::Error| {
        CliError::failed(format!("the manual cannot be written to {}", directory.display())).why(error)
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_and_verb_says_what_it_does() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let help = argument.get_help().map(ToString::to_string);
                let id = argument.get_id();
                assert!(
                    help.is_some_and(|help| !help.ends_with('.')),
                    "{path}: the help of {id}"
                );
            }
            command.get_subcommands().for_each(|sub| check(sub, &path));
        }
        let mut command = Cli::command();
        command.build();
        check(&command, "");
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let long = argument.get_long().unwrap_or_default();
                assert!(!matches!(long, "password" | "token" | "secret" | "key"), "--{long}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
