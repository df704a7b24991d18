//! The restore form and its plan, drawn over the whole body.

use ratatui::layout::Rect;

use super::{FormField, PlanState, Restore};
use crate::domain::id::SnapshotId;
use crate::tui::canvas::{Canvas, below};
use crate::tui::screens::plan;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::{self, Detail};

/// The id in a few words for titles.
fn title(restore: &Restore) -> String {
    let job = restore
        .snapshot
        .job
        .as_ref()
        .map_or(String::new(), |job| format!(" of {job}"));
    format!("Restore snapshot {}{job}", short(&restore.snapshot.id))
}

fn short(id: &SnapshotId) -> String {
    id.short().to_owned()
}

/// Draws the form or the plan over the whole body.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, restore: &Restore, locked: Option<&str>) {
    canvas.clear(area);
    let area = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    };
    let step = if restore.plan == PlanState::None {
        "step 1 of 2: where to"
    } else {
        "step 2 of 2: the plan"
    };
    let title = canvas.look.line(title(restore), Role::Heading);
    canvas.line(area, 0, 0, &title);
    let step = canvas.look.line(step, Role::Dim);
    if area.width > 70 {
        canvas.right(area, 0, &step);
    }
    let body = below(area, 2);
    match &restore.plan {
        PlanState::None => draw_form(canvas, body, restore),
        PlanState::Asked => {
            canvas.text(
                body,
                0,
                0,
                "asking the agent for the plan; nothing has been changed",
                Role::Dim,
            );
        }
        PlanState::Failed(trouble) => {
            let mut lines = Detail::new(canvas.look, usize::from(body.width));
            lines.prose(&trouble.message, Role::Crit);
            if let Some(hint) = &trouble.hint {
                lines.prose(&format!("hint: {hint}"), Role::Accent);
            }
            let lines = lines.lines;
            detail::draw(canvas, body, &lines, 0);
        }
        PlanState::Here(plan) => {
            let lines = plan::lines(plan, canvas.look, usize::from(body.width), locked);
            detail::draw(canvas, body, &lines, restore.scroll);
        }
    }
}

fn draw_form(canvas: &mut Canvas<'_>, area: Rect, restore: &Restore) {
    let mut y = 0;
    let fields = restore.fields();
    // Lines apart, where there is room.
    let gap = if usize::from(area.height) > fields.len() * 2 + 4 {
        2
    } else {
        1
    };
    for field in fields {
        let focused = field == restore.at;
        let (label, input) = match field {
            FormField::Into => ("into", None),
            FormField::Directory => ("directory", Some(&restore.directory)),
            FormField::Delta => ("existing", None),
            FormField::Database => ("database", Some(&restore.name)),
            FormField::Server => ("server", Some(&restore.server)),
            FormField::GoOn => ("go on to", None),
            FormField::Instant => ("instant", restore.goal.as_ref().map(|goal| &goal.text)),
            FormField::Pick => ("pick", None),
            FormField::Then => ("then", None),
            FormField::Reason => ("reason", Some(&restore.reason)),
        };
        if focused {
            canvas.text(area, 0, y, canvas.look.glyphs.cursor, Role::Accent);
        }
        canvas.text(area, 2, y, label, if focused { Role::Accent } else { Role::Dim });
        if let Some(input) = input {
            if input.text().is_empty() && field == FormField::Server {
                canvas.text(area, 14, y, "  the source's own; else user@host:port", Role::Dim);
            }
            if input.text().is_empty() && field == FormField::Instant {
                canvas.text(
                    area,
                    14,
                    y,
                    "  everything there is; else 03:11:00 or 2026-03-01 03:11:00, UTC",
                    Role::Dim,
                );
            }
            if input.text().is_empty() && field == FormField::Reason {
                canvas.text(area, 14, y, "  for the audit, for example INC-77", Role::Dim);
            }
            input.draw(canvas, area, 14, y, focused);
        } else if let (FormField::Pick, Some(goal)) = (field, &restore.goal) {
            goal.draw(canvas, area, 14, y);
            if focused {
                y += 1;
                canvas.text(area, 14, y, &goal.note(), Role::Dim);
            }
        } else {
            let text = switch_words(restore, field);
            canvas.text(area, 14, y, text, Role::Text);
        }
        y += gap;
    }
    let note = match &restore.complaint {
        Some(complaint) => canvas.look.line(complaint.clone(), Role::Crit),
        None => canvas.look.line(
            "Enter shows the plan; nothing is changed before it is confirmed.",
            Role::Dim,
        ),
    };
    canvas.line(area, 2, y, &note);
    if !restore.paths.is_empty() {
        canvas.text(area, 2, y + 2, "Only these:", Role::Dim);
        for (row, path) in (y + 3..).zip(&restore.paths) {
            canvas.text(area, 4, row, path, Role::Text);
        }
    }
}

fn switch_words(restore: &Restore, field: FormField) -> &'static str {
    let goal = restore.goal.as_ref();
    match field {
        FormField::GoOn if goal.is_some_and(|goal| goal.on) => {
            return "[an instant of the log]   the snapshot alone  (space changes)";
        }
        FormField::GoOn => return " an instant of the log   [the snapshot alone]  (space changes)",
        FormField::Then if goal.is_some_and(|goal| goal.open) => {
            return " paused, to look first   [open for writing]  (space changes)";
        }
        FormField::Then => return "[paused, to look first]   open for writing  (space changes)",
        _ => {}
    }
    match (field, restore.database, restore.can_choose(), restore.delta) {
        (FormField::Into, true, ..) => "[a new database]   a directory      (space changes)",
        (FormField::Into, false, true, _) => " a new database   [a directory]     (space changes)",
        (FormField::Into, false, false, _) => "a directory",
        (_, _, _, true) => "compare, and write only what differs   (space changes)",
        _ => "refuse to overwrite unless planned   (space changes)",
    }
}
