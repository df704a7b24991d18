//! One key with its modifiers, as a key map writes it and as a terminal sends it.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key: `j`, `G`, `C-d`, `A-x`, `S-tab`, `pgdn`, `f5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    control: bool,
    alt: bool,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    Char(char),
    Named(&'static str),
    Function(u8),
}

const NAMES: [(&str, KeyCode); 15] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("S-tab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("del", KeyCode::Delete),
    ("ins", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
];

impl Key {
    /// Reads a key as a key map writes it.
    ///
    /// # Errors
    /// A sentence that names what is not a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let (mut control, mut alt) = (false, false);
        loop {
            match (rest.strip_prefix("C-"), rest.strip_prefix("A-")) {
                (Some(after), _) if !after.is_empty() => (control, rest) = (true, after),
                (_, Some(after)) if !after.is_empty() => (alt, rest) = (true, after),
                _ => break,
            }
        }
        let mut letters = rest.chars();
        let code = match (letters.next(), letters.next()) {
            (Some(letter), None) => Code::Char(letter),
            _ if rest == "space" => Code::Char(' '),
            (Some('f'), Some(_)) if rest[1..].parse::<u8>().is_ok_and(|n| (1..=12).contains(&n)) => {
                Code::Function(rest[1..].parse().unwrap_or(1))
            }
            _ => {
                let named = NAMES.iter().find(|(name, _)| *name == rest);
                Code::Named(named.ok_or_else(|| format!("\"{text}\" is not a key"))?.0)
            }
        };
        Ok(Self { control, alt, code })
    }

    /// The key of an event; none for keys that never mean anything here.
    pub fn of(event: &KeyEvent) -> Option<Self> {
        let code = match event.code {
            KeyCode::Char(letter) => Code::Char(letter),
            KeyCode::F(number) => Code::Function(number),
            code => Code::Named(NAMES.iter().find(|(_, known)| *known == code)?.0),
        };
        Some(Self {
            control: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
            code,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            f.write_str("C-")?;
        }
        if self.alt {
            f.write_str("A-")?;
        }
        match self.code {
            Code::Char(' ') => f.write_str("space"),
            Code::Char(letter) => write!(f, "{letter}"),
            Code::Named(name) => f.write_str(name),
            Code::Function(number) => write!(f, "f{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_alike() {
        for text in [
            "j", "G", "C-d", "A-x", "C-A-x", "S-tab", "pgdn", "f5", "space", "-", "C--", "?",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        assert!(Key::parse("hyper").is_err());
        assert!(Key::parse("f13").is_err());
        assert!(Key::parse("").is_err());
    }
}
