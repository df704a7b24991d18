//! Every screen as it looks, at three sizes, in sixteen colours and in none. Colours are written as a map beside the text.

use lifeboat::tui::app::App;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use crate::fixture;
use crate::runner::{Eye, Runner};

pub const SIZES: [(u16, u16); 3] = [(60, 16), (80, 24), (160, 50)];

/// The screens, with the keys that lead there.
const SCREENS: [(&str, &str); 24] = [
    ("overview", "1 j"),
    ("jobs", "2 j j"),
    ("job-runs", "2 j j enter"),
    ("run-detail", "2 j j enter enter"),
    ("snapshots", "3 j"),
    ("snapshot-detail", "3 j d"),
    ("snapshots-filtered", "3 / job:orders space evidence<restored"),
    ("trash", "3 t"),
    ("retention", "2 j j r j"),
    ("forget", "3 j j j j j j j j j j a G enter"),
    ("tree", "3 enter enter enter j"),
    ("file", "3 enter enter enter G enter"),
    ("recoveries", "4"),
    ("recovery-detail", "4 enter"),
    ("alerts", "6"),
    ("audit", "8"),
    ("topology", "7 j"),
    ("topology-detail", "7 j enter"),
    ("help", "?"),
    ("palette", ": or"),
    ("menu", "2 j j j a"),
    ("restore-form", "3 j a enter"),
    ("restore-plan", "3 j a enter enter"),
    ("restore-dialog", "3 j a enter enter enter"),
];

/// One letter a style, so that a change of colour shows in the snapshot as a change of text does.
fn letter(color: Color, modifier: Modifier) -> char {
    let letter = match color {
        Color::Reset => '.',
        Color::Green => 'g',
        Color::Yellow => 'y',
        Color::LightRed => 'r',
        Color::Cyan => 'c',
        Color::DarkGray => 'd',
        Color::White => 'w',
        Color::Black => 'k',
        _ => '?',
    };
    match modifier {
        modifier if modifier.contains(Modifier::REVERSED) => '#',
        modifier if modifier.contains(Modifier::BOLD) && letter == '.' => 'B',
        modifier if modifier.contains(Modifier::BOLD) => letter.to_ascii_uppercase(),
        modifier if modifier.contains(Modifier::DIM) => ',',
        _ => letter,
    }
}

/// The text, then the same rows as styles.
pub fn render(buffer: &Buffer) -> String {
    let area = buffer.area;
    let styles = (area.top()..area.bottom()).map(|y| {
        let row: String = (area.left()..area.right())
            .map(|x| {
                let cell = &buffer[(x, y)];
                match letter(cell.fg, cell.modifier) {
                    '.' => ' ',
                    letter => letter,
                }
            })
            .collect();
        row.trim_end().to_owned()
    });
    let styles: Vec<String> = styles.collect();
    format!(
        "{}\n~~~\n{}",
        lifeboat::tui::options::screen_text(buffer),
        styles.join("\n")
    )
}

fn at(size: (u16, u16), eye: Eye, keys: &str) -> Runner {
    let mut console = Runner::new(size, eye);
    console.press(keys);
    // Notices come and go; a screen is looked at when they have gone, and before it is called quiet.
    console.wait(9_000);
    console
}

pub fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn check(eye: Eye, name: &str) {
    settings().bind(|| {
        for size in SIZES {
            for (screen, keys) in SCREENS {
                let console = at(size, eye, keys);
                insta::assert_snapshot!(
                    format!("{screen}-{}x{}-{name}", size.0, size.1),
                    render(&console.buffer())
                );
            }
        }
    });
}

#[test]
fn every_screen_in_sixteen_colours() {
    check(Eye::Sixteen, "16");
}

#[test]
fn every_screen_without_colours_in_ascii() {
    check(Eye::Mono, "mono");
    for size in SIZES {
        for (screen, keys) in SCREENS {
            let text = at(size, Eye::Mono, keys).text();
            let strange = text.chars().find(|letter| !letter.is_ascii());
            assert_eq!(strange, None, "{screen} at {size:?}");
        }
    }
}

#[test]
fn states_without_an_agent() {
    settings().bind(|| {
        let mut console = Runner::blank((80, 24), Eye::Sixteen, false, 0);
        insta::assert_snapshot!("connecting", render(&console.buffer()));
        console.lose();
        insta::assert_snapshot!("no-agent", render(&console.buffer()));
        let mut console = at((80, 24), Eye::Sixteen, "1");
        console.wait(35_000);
        insta::assert_snapshot!("stale", render(&console.buffer()));
    });
}

#[test]
fn an_empty_house() {
    settings().bind(|| {
        let mut console = Runner::blank((80, 24), Eye::Sixteen, false, 0);
        let mut overview = fixture::overview();
        overview.services.clear();
        overview.logs.clear();
        overview.alerts.clear();
        overview.jobs.clear();
        overview.runs.clear();
        overview.recoveries.clear();
        overview.practice =
            Some("A sandbox with real servers. Break something from the palette (:), then get it back.".to_owned());
        overview.journal_error = Some("the disk is full".to_owned());
        overview.config_error = Some("lifeboat.toml line 12: unknown field \"shedule\"".to_owned());
        console.picture(overview);
        insta::assert_snapshot!("empty", render(&console.buffer()));
    });
}

#[test]
fn no_screen_tells_a_state_by_colour_alone() {
    // What differs in colour between two evidences, outcomes or severities differs in the mono picture as well.
    for (screen, keys) in SCREENS {
        let colours = at((80, 24), Eye::Sixteen, keys);
        let app: &App = &colours.app;
        assert!(app.overview.is_some(), "{screen}");
    }
    let text = at((80, 24), Eye::Mono, "3").text();
    for word in ["probed 5/5", "NOT decoded", "GONE", "PARTIAL", "checksummed 2/5"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = at((80, 24), Eye::Mono, "1").text();
    for word in [
        "BREACHED",
        "AT RISK",
        "met",
        "critical",
        "warning",
        "RW",
        "live",
        "2 critical",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
