//! Themes: what each role looks like, in 16 colours, in true colour and in none.
//!
//! A screen names a role, never a colour, so a theme for another eye is a file and not a change of code. Whatever a role
//! says is said in words or by a glyph as well; a theme only makes it quicker to see.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

/// What a piece of the screen means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Ordinary text.
    Text,
    /// Labels, units, what is not asked for.
    Dim,
    /// Headings.
    Heading,
    /// Keys, and what can be acted on.
    Accent,
    /// As promised.
    Ok,
    /// Look today.
    Warn,
    /// Look now.
    Crit,
    /// Going on right now.
    Live,
    /// Rules and empty parts of bars.
    Rule,
    /// The selected row.
    Select,
    /// The badge of a production environment.
    Production,
    /// The badge of any other environment.
    Badge,
}

const ROLES: [Role; 12] = [
    Role::Text,
    Role::Dim,
    Role::Heading,
    Role::Accent,
    Role::Ok,
    Role::Warn,
    Role::Crit,
    Role::Live,
    Role::Rule,
    Role::Select,
    Role::Production,
    Role::Badge,
];

/// How many colours the terminal is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim, reverse and underline only.
    Mono,
    /// The terminal's own sixteen, which its owner has chosen to be readable.
    Sixteen,
    /// 24 bits.
    True,
}

/// The names of the themes, in the order they are offered.
pub const NAMES: [&str; 5] = ["default", "high-contrast", "deuteranopia", "tritanopia", "mono"];

const SOURCES: [&str; 5] = [
    include_str!("../../assets/themes/default.toml"),
    include_str!("../../assets/themes/high-contrast.toml"),
    include_str!("../../assets/themes/deuteranopia.toml"),
    include_str!("../../assets/themes/tritanopia.toml"),
    include_str!("../../assets/themes/mono.toml"),
];

/// How one role looks, as a theme file writes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Look {
    ansi: Option<String>,
    ansi_back: Option<String>,
    rgb: Option<String>,
    rgb_back: Option<String>,
    bold: bool,
    dim: bool,
    reverse: bool,
    underline: bool,
    /// Modifiers when there are no colours; those above when absent.
    mono: Option<String>,
}

/// A theme at one depth of colour.
#[derive(Debug, Clone)]
pub struct Theme {
    styles: [Style; ROLES.len()],
}

impl Theme {
    /// The built-in theme of that name.
    ///
    /// # Errors
    /// A sentence that lists the names there are.
    pub fn named(name: &str, depth: Depth) -> Result<Self, String> {
        let place = NAMES.iter().position(|known| *known == name);
        let place = place.ok_or_else(|| format!("there is no theme \"{name}\"; choose from {}", NAMES.join(", ")))?;
        Self::parse(SOURCES[place], depth)
    }

    /// Reads a theme file: one table a role.
    ///
    /// # Errors
    /// A sentence that says what is not understood.
    pub fn parse(text: &str, depth: Depth) -> Result<Self, String> {
        let looks: BTreeMap<Role, Look> = toml::from_str(text).map_err(|error| format!("theme: {error}"))?;
        let mut styles = [Style::new(); ROLES.len()];
        for (style, role) in styles.iter_mut().zip(ROLES) {
            if let Some(look) = looks.get(&role) {
                *style = look.style(depth)?;
            }
        }
        Ok(Self { styles })
    }

    /// How a role looks.
    pub fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }
}

impl Look {
    fn style(&self, depth: Depth) -> Result<Style, String> {
        let color = |text: &Option<String>| text.as_deref().map(parse_color).transpose();
        let (fore, back) = match depth {
            Depth::Mono => (None, None),
            Depth::Sixteen => (color(&self.ansi)?, color(&self.ansi_back)?),
            Depth::True => (color(&self.rgb)?, color(&self.rgb_back)?),
        };
        let mut style = Style::new();
        style.fg = fore;
        style.bg = back;
        if let (Depth::Mono, Some(words)) = (depth, &self.mono) {
            return words
                .split_whitespace()
                .try_fold(style, |style, word| Ok(style.add_modifier(modifier(word)?)));
        }
        // A background makes reversing needless; where there is none, reversing is all there is.
        let reverse = self.reverse && back.is_none();
        for (on, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.dim && fore.is_none(), Modifier::DIM),
            (reverse, Modifier::REVERSED),
            (self.underline, Modifier::UNDERLINED),
        ] {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        Ok(style)
    }
}

fn parse_color(text: &str) -> Result<Color, String> {
    text.parse().map_err(|_| format!("theme: \"{text}\" is not a colour"))
}

fn modifier(word: &str) -> Result<Modifier, String> {
    match word {
        "bold" => Ok(Modifier::BOLD),
        "dim" => Ok(Modifier::DIM),
        "reverse" => Ok(Modifier::REVERSED),
        "underline" => Ok(Modifier::UNDERLINED),
        other => Err(format!("theme: \"{other}\" is not bold, dim, reverse or underline")),
    }
}

/// The depth of colour to use, by what the environment says; asks the terminal nothing.
///
/// Over SSH sixteen colours are used whatever the terminal can do: they are the ones its owner chose to be readable, and
/// the shortest to send.
pub fn depth_from_env(var: impl Fn(&str) -> Option<String>) -> Depth {
    let set = |name: &str| var(name).is_some_and(|value| !value.is_empty());
    let term = var("TERM").unwrap_or_default();
    if set("NO_COLOR") || term == "dumb" || term.starts_with("vt1") || term.starts_with("vt2") {
        Depth::Mono
    } else if set("SSH_TTY") || !matches!(var("COLORTERM").as_deref(), Some("truecolor" | "24bit")) {
        Depth::Sixteen
    } else {
        Depth::True
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_gives_every_role_a_look_at_every_depth() {
        for (name, source) in NAMES.iter().zip(SOURCES) {
            let looks: BTreeMap<Role, Look> = toml::from_str(source).unwrap();
            assert_eq!(looks.len(), ROLES.len(), "theme {name} leaves a role out");
            for depth in [Depth::Mono, Depth::Sixteen, Depth::True] {
                let theme = Theme::named(name, depth).unwrap();
                let apart = [Role::Text, Role::Ok, Role::Warn, Role::Crit, Role::Select].map(|role| theme.style(role));
                if depth != Depth::Mono && *name != "mono" {
                    assert!(apart.iter().skip(1).all(|style| *style != apart[0]), "{name}");
                }
            }
        }
    }

    #[test]
    fn ssh_means_sixteen_colours_and_no_color_means_none() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            }
        };
        assert_eq!(depth_from_env(env(&[("COLORTERM", "truecolor")])), Depth::True);
        assert_eq!(
            depth_from_env(env(&[("COLORTERM", "truecolor"), ("SSH_TTY", "/dev/pts/1")])),
            Depth::Sixteen
        );
        assert_eq!(
            depth_from_env(env(&[("COLORTERM", "truecolor"), ("NO_COLOR", "1")])),
            Depth::Mono
        );
        assert_eq!(depth_from_env(env(&[("TERM", "xterm-256color")])), Depth::Sixteen);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert!(Theme::named("neon", Depth::True).unwrap_err().contains("tritanopia"));
    }
}
