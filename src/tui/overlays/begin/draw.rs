//! The form and the plan of an execution, drawn over the whole body.

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Begin, Stage};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, below};
use crate::tui::screens::runbooks::plan;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::{self, Detail};

impl Begin {
    /// Draws the form or the plan over the whole body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, app: &App) {
        let locked = app.why_locked();
        canvas.clear(area);
        let area = Rect {
            x: area.x + 1,
            width: area.width.saturating_sub(2),
            ..area
        };
        let role = if self.drill { Role::Heading } else { Role::Crit };
        let look = canvas.look;
        let title = Line::from(vec![
            look.span(format!("Runbook {}: ", self.name), Role::Heading),
            look.span(self.mode(), role),
        ]);
        canvas.line(area, 0, 0, &title);
        let step = match self.stage {
            Stage::Form | Stage::Opening => "step 1 of 2: what has to be known",
            _ => "step 2 of 2: the plan",
        };
        if area.width > 70 {
            canvas.right(area, 0, &look.line(step, Role::Dim));
        }
        let body = below(area, if area.height < 16 { 1 } else { 2 });
        match (self.stage, &self.plan) {
            (Stage::Form, _) => self.draw_form(canvas, body, app),
            (Stage::Plan, Some(plan)) => {
                let lines = plan::lines(
                    plan,
                    self.incident_at,
                    self.complaint.as_deref(),
                    look,
                    usize::from(body.width),
                    locked.as_deref(),
                );
                detail::draw(canvas, body, &lines, self.scroll);
            }
            (Stage::Failed, _) => {
                let mut lines = Detail::new(look, usize::from(body.width));
                lines.prose(self.complaint.as_deref().unwrap_or_default(), Role::Crit);
                let lines = lines.lines;
                detail::draw(canvas, body, &lines, 0);
            }
            _ => {
                let words = "asking the agent for the plan; nothing has been begun";
                canvas.text(body, 0, 0, words, Role::Dim);
            }
        }
    }

    fn draw_form(&self, canvas: &mut Canvas<'_>, area: Rect, app: &App) {
        let offered = self.choices(app);
        let widest = self.fields.iter().map(|field| field.variable.name.len()).max();
        let x = u16::try_from(widest.unwrap_or(0).clamp(8, 24)).unwrap_or(24) + 4;
        let rows = usize::from(area.height.saturating_sub(6)).max(1);
        // Only the field the keys go to says what it asks, so that many fit a small screen.
        let from = (self.at + 1).saturating_sub(rows);
        let mut y = 0;
        for (at, field) in self.fields.iter().enumerate().skip(from).take(rows) {
            let focused = at == self.at;
            if focused {
                canvas.text(area, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
            let role = if focused { Role::Accent } else { Role::Dim };
            canvas.text(area, 2, y, &field.variable.name, role);
            field.input.draw(canvas, area, x, y, focused);
            y += 1;
            if focused {
                let variable = &field.variable;
                let ask = format!("{} ({})", variable.ask, variable.kind.word());
                canvas.text(area, x, y, &ask, Role::Text);
                y += 1;
                if !offered.is_empty() {
                    let words = format!("Tab: {}", offered.join("  "));
                    canvas.text(area, x, y, &words, Role::Dim);
                }
                y += 1;
            }
        }
        if let Some(input) = &self.happened {
            let focused = self.at == self.fields.len();
            if focused {
                canvas.text(area, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
            let role = if focused { Role::Accent } else { Role::Dim };
            canvas.text(area, 2, y, "happened", role);
            input.draw(canvas, area, x, y, focused);
            if !focused && input.text().is_empty() {
                canvas.text(area, x, y, "now", Role::Dim);
            }
            y += 1;
            if focused {
                canvas.text(
                    area,
                    x,
                    y,
                    "When did it happen? (17m ago is 17m; empty is now)",
                    Role::Text,
                );
                y += 1;
            }
        }
        let (note, role) = match &self.complaint {
            Some(complaint) => (complaint.as_str(), Role::Crit),
            None => (
                "Enter shows the plan; nothing begins before it is confirmed.",
                Role::Dim,
            ),
        };
        let lines = crate::tui::canvas::wrap(note, usize::from(area.width.saturating_sub(2)));
        for (line, text) in (y + 1..).zip(lines) {
            canvas.text(area, 2, line, &text, role);
        }
    }
}
