//! `lifeboat backup`: a snapshot of paths, with no configuration and no agent.

use std::path::PathBuf;

use super::args::BackupArgs;
use super::context::{Ctx, host_name};
use super::direct::{drive, open, remark_errors};
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use crate::domain::{Bytes, Millis};
use crate::repo::{BackupOptions, BackupResult, Parent};

/// Makes a snapshot of paths.
pub async fn run(args: BackupArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let repo = open(&ctx.repository(&args.repository)?, ctx).await?;
    let mut tags = vec!["lifeboat".to_owned(), "kind=files".to_owned()];
    tags.extend(args.tag);
    let options = BackupOptions {
        paths: absolute(args.paths)?,
        excludes: args.exclude,
        one_file_system: args.one_file_system,
        tags,
        comment: args.comment,
        hostname: Some(host_name()),
        parent: if args.force { Parent::None } else { Parent::Auto },
        ..BackupOptions::default()
    };
    let result = drive(
        ctx,
        "backing up",
        "the backup failed; no snapshot was made",
        async |progress, cancel| repo.backup(options, progress, cancel).await,
    );
    let result = result.await?;
    remark_errors(ctx, &result.errors);
    ctx.print(&result)?;
    Ok(if result.errors.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// What was asked for must be there: a mistyped path is no empty backup.
fn absolute(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    let one = |path: PathBuf| {
        let wrong = |error: std::io::Error| {
            CliError::usage(format!("{} cannot be backed up", path.display()))
                .why(error)
                .hint("check the path")
        };
        std::fs::symlink_metadata(&path).map_err(wrong)?;
        std::path::absolute(&path).map_err(wrong)
    };
    paths.into_iter().map(one).collect()
}

impl Render for BackupResult {
    fn text(&self, out: &mut Text) {
        let stats = &self.stats;
        out.field("snapshot", &self.snapshot.id);
        out.field(
            "files",
            format!(
                "{} new, {} changed, {} unchanged; {} in all",
                stats.files_new,
                stats.files_changed,
                stats.files_unmodified,
                Bytes(stats.bytes_total)
            ),
        );
        out.field(
            "read",
            format!("{} in {}", Bytes(stats.bytes_read), Millis::from(stats.duration)),
        );
        out.field(
            "added",
            format!("{}, stored as {}", Bytes(stats.bytes_added), Bytes(stats.bytes_stored)),
        );
        if !self.errors.is_empty() {
            out.painted(
                Paint::Warn,
                format!("PARTIAL: {} things could not be read", self.errors.len()),
            );
        }
    }
}
