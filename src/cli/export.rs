//! `lifeboat snapshot export`, on a repository directly.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{ExportArgs, ExportForm};
use super::context::Ctx;
use super::direct::{drive, remark_errors, resolve};
use super::error::{CliError, Exit};
use super::output::{Render, Text};
use crate::domain::Bytes;
use crate::domain::id::SnapshotId;
use crate::repo::{ExportFormat, ExportReport, Repository};
use crate::source::Work;
use crate::source::postgres::export::{DumpForm, export};

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    snapshot: String,
    #[serde(flatten)]
    report: ExportReport,
}

impl Render for Exported {
    fn text(&self, out: &mut Text) {
        out.field("written", self.file.display().to_string());
        out.field(
            "holds",
            format!("{} entries, {}", self.report.entries, Bytes(self.report.bytes)),
        );
    }
}

/// What the name of the file says about the form.
fn form_of(path: &Path) -> Option<ExportForm> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let forms = [
        (".tar.zst", ExportForm::TarZst),
        (".zip", ExportForm::Zip),
        (".sql.gz", ExportForm::SqlGz),
        (".dump", ExportForm::Dump),
    ];
    forms
        .into_iter()
        .find(|(end, _)| name.ends_with(end))
        .map(|(_, form)| form)
}

/// Writes a snapshot as an archive, or the dump in it as a file.
pub(super) async fn run(repo: &Repository, args: ExportArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let form = args.format.or_else(|| form_of(&args.output)).ok_or_else(|| {
        CliError::usage(format!("the form of {} is not known", args.output.display()))
            .hint("name the file .tar.zst, .zip, .sql.gz or .dump, or say --format")
    })?;
    let snapshot = resolve(repo, &args.id).await?.id;
    let report = match form {
        ExportForm::TarZst => archive(repo, &snapshot, ExportFormat::TarZst, &args, ctx).await?,
        ExportForm::Zip => archive(repo, &snapshot, ExportFormat::Zip, &args, ctx).await?,
        ExportForm::SqlGz => dump(repo, &snapshot, DumpForm::SqlGz, &args, ctx).await?,
        ExportForm::Dump => dump(repo, &snapshot, DumpForm::Custom, &args, ctx).await?,
    };
    remark_errors(ctx, &report.skipped);
    let partial = !report.skipped.is_empty();
    ctx.print(&Exported {
        file: args.output,
        snapshot,
        report,
    })?;
    Ok(if partial { Exit::Partial } else { Exit::Done })
}

async fn archive(
    repo: &Repository,
    snapshot: &str,
    format: ExportFormat,
    args: &ExportArgs,
    ctx: &Ctx,
) -> Result<ExportReport, CliError> {
    let what = "the snapshot cannot be exported";
    let subpath = args.subpath.as_deref();
    drive(ctx, "exporting", what, async |progress, cancel| {
        repo.export_to(snapshot, subpath, format, &args.output, progress, cancel)
            .await
    })
    .await
}

async fn dump(
    repo: &Repository,
    snapshot: &str,
    form: DumpForm,
    args: &ExportArgs,
    ctx: &Ctx,
) -> Result<ExportReport, CliError> {
    if args.subpath.is_some() {
        return Err(CliError::usage("a dump has no parts to choose from").hint("leave out --subpath"));
    }
    let id = SnapshotId::from(snapshot);
    let what = "the dump cannot be exported";
    let mut failed = None;
    let done = drive(ctx, "exporting", what, async |progress, cancel| {
        let work = Work {
            repo,
            clock: &ctx.clock,
            progress,
            cancel,
            reached: &|_| {},
        };
        match export(&id, form, &args.output, &work).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => {
                failed = Some(error);
                Ok(None)
            }
        }
    })
    .await?;
    match (done, failed) {
        (Some(bytes), _) => Ok(ExportReport {
            entries: 1,
            bytes: bytes.0,
            skipped: Vec::new(),
        }),
        (None, Some(crate::source::SourceError::Cancelled)) => Err(CliError::cancelled(what).why("you asked for it")),
        (None, Some(error)) => Err(CliError::failed(what).maybe_hint(error.hint()).why(error)),
        (None, None) => Err(CliError::failed(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_the_form() {
        assert_eq!(form_of(Path::new("/x/a.tar.zst")), Some(ExportForm::TarZst));
        assert_eq!(form_of(Path::new("shop.SQL.GZ")), Some(ExportForm::SqlGz));
        assert_eq!(form_of(Path::new("a.tar")), None);
    }
}
