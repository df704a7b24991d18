//! The few glyphs that are not letters: one column wide each, with an ASCII twin for every one.

/// The set of glyphs a terminal is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyphs {
    /// A filled part of a bar.
    pub bar_full: &'static str,
    /// An empty part of a bar.
    pub bar_empty: &'static str,
    /// A reached level.
    pub step_full: &'static str,
    /// A level not reached.
    pub step_empty: &'static str,
    /// A horizontal rule.
    pub rule: &'static str,
    /// A vertical rule.
    pub wall: &'static str,
    /// The corners of a box: top left, top right, bottom left, bottom right.
    pub corners: [&'static str; 4],
    /// The mark beside the selected row.
    pub cursor: &'static str,
    /// The mark beside a marked row.
    pub mark: &'static str,
    /// A success in a strip of outcomes.
    pub good: &'static str,
    /// Between places in a path.
    pub then: &'static str,
    /// The column that is sorted by, rising and falling.
    pub sorted: [&'static str; 2],
    /// Heights of a sparkline, lowest first.
    pub spark: [&'static str; 8],
    /// What stands for text that was cut off.
    pub more: &'static str,
}

/// For terminals whose locale says UTF-8.
pub const UNICODE: Glyphs = Glyphs {
    bar_full: "━",
    bar_empty: "─",
    step_full: "■",
    step_empty: "□",
    rule: "─",
    wall: "│",
    corners: ["┌", "┐", "└", "┘"],
    cursor: "▌",
    mark: "*",
    good: "•",
    then: "›",
    sorted: ["↑", "↓"],
    spark: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    more: "…",
};

/// For all others.
pub const ASCII: Glyphs = Glyphs {
    bar_full: "=",
    bar_empty: "-",
    step_full: "#",
    step_empty: ".",
    rule: "-",
    wall: "|",
    corners: ["+", "+", "+", "+"],
    cursor: ">",
    mark: "*",
    good: ".",
    then: ">",
    sorted: ["^", "v"],
    spark: ["_", "_", ".", ".", "-", "-", "=", "#"],
    more: "~",
};

/// The glyphs for the locale of the environment: the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set decides.
pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Glyphs {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| var(name).filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        UNICODE
    } else {
        ASCII
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(glyphs: &Glyphs) -> Vec<&'static str> {
        let mut all = vec![
            glyphs.bar_full,
            glyphs.bar_empty,
            glyphs.step_full,
            glyphs.step_empty,
            glyphs.rule,
            glyphs.wall,
            glyphs.cursor,
            glyphs.mark,
            glyphs.good,
            glyphs.then,
            glyphs.more,
        ];
        all.extend(glyphs.corners.iter().chain(&glyphs.sorted).chain(&glyphs.spark));
        all
    }

    #[test]
    fn every_glyph_is_one_column_wide_and_its_twin_is_ascii() {
        for glyph in all(&UNICODE) {
            assert_eq!(ratatui::text::Span::raw(glyph).width(), 1, "{glyph}");
        }
        assert!(all(&ASCII).iter().all(|glyph| glyph.len() == 1 && glyph.is_ascii()));
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let env = |name: &str| match name {
            "LC_ALL" => Some(String::new()),
            "LC_CTYPE" => Some("C".to_owned()),
            _ => Some("en_GB.UTF-8".to_owned()),
        };
        assert_eq!(from_env(env), ASCII);
        assert_eq!(
            from_env(|name| (name == "LANG").then(|| "es_ES.utf8".to_owned())),
            UNICODE
        );
    }
}
