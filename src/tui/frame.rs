//! From a picture to bytes: what changed is encoded as shortly as it can be and leaves in one `write(2)`.
//!
//! A terminal that sees half a frame flickers, and over SSH each write may become a packet. So a frame is collected whole,
//! bracketed with synchronized output (private mode 2026, which terminals that do not know it ignore), and written once.

use std::io::{self, Write};

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier};

/// Where frames go, and what the far end already shows.
#[derive(Debug)]
pub struct FrameWriter<W> {
    out: W,
    shown: Buffer,
    cursor: Option<Position>,
    synchronized: bool,
    clear: bool,
    /// Frames written and their bytes, for the tests and the measurements.
    pub written: Written,
}

/// What has been written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// How many frames.
    pub frames: u64,
    /// How many bytes in all.
    pub bytes: u64,
}

impl<W: Write> FrameWriter<W> {
    /// A writer to a terminal of that size, of which nothing is known yet.
    pub fn new(out: W, area: Rect, synchronized: bool) -> Self {
        Self {
            out,
            shown: Buffer::empty(area),
            cursor: None,
            synchronized,
            clear: true,
            written: Written::default(),
        }
    }

    /// Forgets what is shown: the next frame is drawn whole.
    pub fn forget(&mut self, area: Rect) {
        self.shown = Buffer::empty(area);
        self.cursor = None;
        self.clear = true;
    }

    /// Shows a picture: writes what differs from the one before, or nothing when nothing does.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn show(&mut self, picture: Buffer, cursor: Option<Position>) -> io::Result<()> {
        if picture.area != self.shown.area {
            self.forget(picture.area);
        }
        let mut body = Vec::new();
        encode(&self.shown, &picture, self.clear, &mut body);
        let moved = cursor != self.cursor || (cursor.is_some() && !body.is_empty());
        if body.is_empty() && !moved {
            return Ok(());
        }
        let mut frame = Vec::with_capacity(body.len() + 32);
        if self.synchronized {
            frame.extend_from_slice(b"\x1b[?2026h");
        }
        if self.cursor.is_some() && cursor.is_none() {
            frame.extend_from_slice(b"\x1b[?25l");
        }
        frame.extend_from_slice(&body);
        if let Some(at) = cursor {
            write!(frame, "\x1b[{};{}H", at.y + 1, at.x + 1)?;
            if self.cursor.is_none() {
                frame.extend_from_slice(b"\x1b[?25h");
            }
        }
        if self.synchronized {
            frame.extend_from_slice(b"\x1b[?2026l");
        }
        self.shown = picture;
        self.cursor = cursor;
        self.clear = false;
        self.written.frames += 1;
        self.written.bytes += frame.len() as u64;
        // `write_all` goes on after a short write, which a terminal in blocking mode does only when a signal comes between.
        self.out.write_all(&frame)?;
        self.out.flush()
    }
}

/// Encodes the difference of two pictures; with `clear`, from an empty screen.
fn encode(before: &Buffer, after: &Buffer, clear: bool, out: &mut Vec<u8>) {
    let mut pen = Pen::default();
    if clear {
        out.extend_from_slice(b"\x1b[0m\x1b[2J");
    }
    let changes = before.diff(after);
    for (place, (x, y, cell)) in changes.iter().enumerate() {
        pen.go(*x, *y, after, out);
        pen.style(cell, out);
        // A blank tail of a row is erased with three bytes instead of being overwritten with spaces.
        if is_blank(cell)
            && rest_is_blank(after, *x, *y)
            && changes[place..].iter().take_while(|c| c.1 == *y).count() > 3
        {
            if !pen.erased_row(*y) {
                out.extend_from_slice(b"\x1b[K");
                pen.erased = Some(*y);
            }
            continue;
        }
        out.extend_from_slice(cell.symbol().as_bytes());
        pen.at = Some((
            x + u16::try_from(ratatui::text::Span::raw(cell.symbol()).width()).unwrap_or(1),
            *y,
        ));
    }
    if pen.is_styled() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " " && cell.fg == Color::Reset && cell.bg == Color::Reset && cell.modifier.is_empty()
}

fn rest_is_blank(picture: &Buffer, x: u16, y: u16) -> bool {
    (x..picture.area.right()).all(|x| picture.cell((x, y)).is_some_and(is_blank))
}

/// Where the terminal's cursor is and how it writes, as far as this frame has said.
#[derive(Debug, Default)]
struct Pen {
    at: Option<(u16, u16)>,
    fore: Color,
    back: Color,
    modifier: Modifier,
    erased: Option<u16>,
}

impl Pen {
    fn erased_row(&self, y: u16) -> bool {
        self.erased == Some(y)
    }

    fn is_styled(&self) -> bool {
        self.fore != Color::Reset || self.back != Color::Reset || !self.modifier.is_empty()
    }

    fn go(&mut self, x: u16, y: u16, picture: &Buffer, out: &mut Vec<u8>) {
        if self.at == Some((x, y)) || self.erased_row(y) {
            return;
        }
        match self.at {
            // Repeating one or two unchanged letters is shorter than any movement, if the pen need not change for them.
            Some((from, row)) if row == y && x > from && x - from <= 2 && self.can_repeat(from, x, y, picture) => {
                for x in from..x {
                    out.extend_from_slice(picture[(x, y)].symbol().as_bytes());
                }
            }
            Some((from, row)) if row == y && x > from => {
                let _ = write!(out, "\x1b[{}C", x - from);
            }
            Some((_, row)) if x == 0 && y == row + 1 => out.extend_from_slice(b"\r\n"),
            _ => {
                let _ = write!(out, "\x1b[{};{}H", y + 1, x + 1);
            }
        }
        self.at = Some((x, y));
    }

    fn can_repeat(&self, from: u16, to: u16, y: u16, picture: &Buffer) -> bool {
        (from..to).all(|x| {
            let cell = &picture[(x, y)];
            cell.symbol().len() == 1 && (cell.fg, cell.bg, cell.modifier) == (self.fore, self.back, self.modifier)
        })
    }

    /// Changes the pen, with a reset only when something has to be taken away.
    fn style(&mut self, cell: &Cell, out: &mut Vec<u8>) {
        let mut codes: Vec<String> = Vec::new();
        if self.modifier.difference(cell.modifier) != Modifier::empty() {
            *self = Self {
                at: self.at,
                erased: self.erased,
                ..Self::default()
            };
            codes.push("0".to_owned());
        }
        for (modifier, code) in [
            (Modifier::BOLD, "1"),
            (Modifier::DIM, "2"),
            (Modifier::UNDERLINED, "4"),
            (Modifier::REVERSED, "7"),
        ] {
            if cell.modifier.contains(modifier) && !self.modifier.contains(modifier) {
                codes.push(code.to_owned());
            }
        }
        if cell.fg != self.fore {
            codes.push(color_code(cell.fg, 30));
        }
        if cell.bg != self.back {
            codes.push(color_code(cell.bg, 40));
        }
        (self.fore, self.back, self.modifier) = (cell.fg, cell.bg, cell.modifier);
        if !codes.is_empty() {
            let _ = write!(out, "\x1b[{}m", codes.join(";"));
        }
    }
}

/// The parameters of SGR for a colour; `base` is 30 for the foreground and 40 for the background.
fn color_code(color: Color, base: u8) -> String {
    let plain = |code: u8| (base + code).to_string();
    let bright = |code: u8| (base + 60 + code).to_string();
    match color {
        Color::Reset => plain(9),
        Color::Black => plain(0),
        Color::Red => plain(1),
        Color::Green => plain(2),
        Color::Yellow => plain(3),
        Color::Blue => plain(4),
        Color::Magenta => plain(5),
        Color::Cyan => plain(6),
        Color::Gray => plain(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(index) => format!("{};5;{index}", base + 8),
        Color::Rgb(red, green, blue) => format!("{};2;{red};{green};{blue}", base + 8),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    /// Counts the calls, as the kernel would.
    #[derive(Debug, Default)]
    struct Calls(Vec<Vec<u8>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn parser(rows: u16, columns: u16) -> vt100::Parser {
        vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)
    }

    /// What can be seen of each cell; one that was never written looks like a space.
    fn cells(terminal: &vt100::Parser) -> Vec<String> {
        let places = (0..5).flat_map(|row| (0..30).map(move |column| (row, column)));
        let seen = places.map(|(row, column)| {
            let cell = terminal.screen().cell(row, column).unwrap();
            let text = if cell.has_contents() { cell.contents() } else { " " };
            format!("{text:?} {:?} {} {}", cell.fgcolor(), cell.bold(), cell.inverse())
        });
        seen.collect()
    }

    fn picture(lines: &[(&str, Style)], area: Rect) -> Buffer {
        let mut buffer = Buffer::empty(area);
        for (y, (text, style)) in (0u16..).zip(lines) {
            buffer.set_string(0, y, text, *style);
        }
        buffer
    }

    #[test]
    fn a_frame_is_one_write_and_an_unchanged_one_is_none() {
        let area = Rect::new(0, 0, 40, 4);
        let mut writer = FrameWriter::new(Calls::default(), area, true);
        let red = Style::new().fg(Color::LightRed).add_modifier(Modifier::BOLD);
        let first = [("orders", Style::new()), ("BREACHED", red)];
        writer.show(picture(&first, area), None).unwrap();
        writer.show(picture(&first, area), None).unwrap();
        assert_eq!(writer.out.0.len(), 1);
        writer
            .show(picture(&[("orders", Style::new()), ("met", Style::new())], area), None)
            .unwrap();
        assert_eq!(writer.out.0.len(), 2);
        assert_eq!(writer.written.frames, 2);
    }

    #[test]
    fn what_a_terminal_shows_after_any_sequence_of_frames_is_the_last_picture() {
        let area = Rect::new(0, 0, 30, 5);
        let styles = [
            Style::new(),
            Style::new().fg(Color::Green),
            Style::new().fg(Color::LightRed).add_modifier(Modifier::BOLD),
            Style::new().add_modifier(Modifier::REVERSED),
        ];
        let texts = [
            "",
            "orders ok",
            "orders  ok and more than that",
            "x",
            "a  b   c    d",
            "wide \u{6f22} here",
        ];
        let mut seed: usize = 7;
        let mut next = |n: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        let mut writer = FrameWriter::new(Calls::default(), area, true);
        let mut terminal = parser(5, 30);
        for _ in 0..300 {
            let lines: Vec<_> = (0..5).map(|_| (texts[next(texts.len())], styles[next(4)])).collect();
            let wanted = picture(&lines, area);
            let mut fresh = parser(5, 30);
            let mut whole = FrameWriter::new(Calls::default(), area, false);
            whole.show(wanted.clone(), None).unwrap();
            writer.show(wanted, None).unwrap();
            for bytes in writer.out.0.drain(..) {
                terminal.process(&bytes);
            }
            for bytes in &whole.out.0 {
                fresh.process(bytes);
            }
            assert_eq!(cells(&terminal), cells(&fresh));
        }
    }

    #[test]
    fn the_cursor_is_shown_only_where_text_is_typed() {
        let area = Rect::new(0, 0, 10, 1);
        let mut writer = FrameWriter::new(Calls::default(), area, false);
        let line = [("/job", Style::new())];
        writer.show(picture(&line, area), Some(Position::new(4, 0))).unwrap();
        writer.show(picture(&line, area), None).unwrap();
        let all = String::from_utf8(writer.out.0.concat()).unwrap();
        assert!(all.contains("\x1b[?25h") && all.ends_with("\x1b[?25l"));
    }
}
