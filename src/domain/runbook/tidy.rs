//! What a step may say: bounded in length, and nothing that steers a terminal.
//!
//! Answers of servers, programs and web services go into the journal, onto screens and into reports. They are made harmless once,
//! where the engine hands them over, so that no reader has to remember: what passes here holds no control characters but line ends
//! and tabs, no marks that turn the direction of writing, and no more than so many bytes. What is cut says so.

use super::check::CheckResult;
use super::observe::{StepEnd, StepSeen};
use super::run::Checked;
use super::template::Values;
use crate::domain::run::Failure;

/// The longest value a step finds out, in bytes.
pub const OUTPUT: usize = 16 << 10;
/// The longest line: what was seen by a check, what went wrong, what is going on.
pub const LINE: usize = 2 << 10;
/// Stands for what was cut.
const CUT: &str = " […]";

impl StepSeen {
    /// The same, fit for the journal, a screen and a report.
    #[must_use]
    pub fn tidied(self) -> Self {
        match self {
            Self::Checked(Checked { at, results }) => Self::Checked(Checked {
                at,
                results: all(results),
            }),
            Self::Starting { did } => Self::Starting {
                did: text(&did, OUTPUT),
            },
            Self::Undoing { did } => Self::Undoing {
                did: text(&did, OUTPUT),
            },
            Self::Verified(results) => Self::Verified(all(results)),
            Self::FoundDone { evidence, outputs } => Self::FoundDone {
                evidence: all(evidence),
                outputs: values(outputs),
            },
            Self::Undone(error) => Self::Undone(error.map(failure)),
            Self::Ended(end) => {
                let StepEnd {
                    outputs,
                    evidence,
                    error,
                    ..
                } = *end;
                Self::Ended(Box::new(StepEnd {
                    outputs: values(outputs),
                    evidence: all(evidence),
                    error: error.map(failure),
                    ..*end
                }))
            }
        }
    }
}

fn all(results: Vec<CheckResult>) -> Vec<CheckResult> {
    let one = |result: CheckResult| CheckResult {
        title: line(&result.title),
        outcome: result.outcome,
        detail: line(&result.detail),
    };
    results.into_iter().map(one).collect()
}

fn values(values: Values) -> Values {
    let one = |(name, value): (String, String)| (name, text(&value, OUTPUT));
    values.into_iter().map(one).collect()
}

fn failure(failure: Failure) -> Failure {
    Failure {
        message: line(&failure.message),
        hint: failure.hint.map(|hint| line(&hint)),
        retryable: failure.retryable,
    }
}

/// A text in one line.
pub fn line(said: &str) -> String {
    let said = text(said, LINE);
    if said.contains(['\n', '\t']) {
        said.split(['\n', '\t'])
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join(" ")
    } else {
        said
    }
}

/// A text of at most so many bytes, and a mark when it was longer.
pub fn text(said: &str, most: usize) -> String {
    let harmless = |c: &char| !steers(*c);
    if said.len() <= most && said.chars().all(|c| harmless(&c)) {
        return said.to_owned();
    }
    let mut kept: String = said[..said.floor_char_boundary(most)]
        .chars()
        .filter(harmless)
        .collect();
    if said.len() > most {
        kept.truncate(kept.floor_char_boundary(most - CUT.len()));
        kept.push_str(CUT);
    }
    kept
}

/// Controls other than line ends and tabs, and the marks that turn the direction of writing.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runbook::check::CheckOutcome;

    #[test]
    fn whatever_a_server_or_a_program_says_is_bounded_and_steers_no_terminal() {
        let evil = format!(
            "\u{1b}]0;owned\u{7}\u{1b}[2Ja\r\nb\u{9b}c\u{202e}d{}",
            "é".repeat(40_000)
        );
        let result = CheckResult {
            title: evil.clone(),
            outcome: CheckOutcome::Fails,
            detail: evil.clone(),
        };
        let ended = StepEnd {
            outputs: [("output".to_owned(), evil.clone())].into(),
            evidence: vec![result.clone()],
            error: Some(Failure::permanent(evil.clone(), evil.clone())),
            note: None,
            recovered: false,
            stopped: true,
        };
        let StepSeen::Ended(end) = StepSeen::Ended(Box::new(ended)).tidied() else {
            panic!()
        };
        assert!(end.stopped, "the rest is as it was");
        let output = &end.outputs["output"];
        assert!(
            output.starts_with("]0;owned[2Ja\nbcdé") && output.ends_with(CUT),
            "{output}"
        );
        assert!(output.len() <= OUTPUT && output.len() > OUTPUT - 40, "{}", output.len());
        let error = end.error.unwrap();
        let hint = error.hint.unwrap();
        for one in [&error.message, &hint, &end.evidence[0].title, &end.evidence[0].detail] {
            assert!(one.len() <= LINE && one.starts_with("]0;owned[2Ja bcdé"), "{one}");
        }
        for seen in [
            StepSeen::Verified(vec![result.clone()]),
            StepSeen::FoundDone {
                evidence: vec![result],
                outputs: [("x".to_owned(), evil.clone())].into(),
            },
            StepSeen::Undone(Some(Failure::transient(evil.clone()))),
            StepSeen::Starting { did: evil },
        ] {
            let said = format!("{:?}", seen.tidied());
            assert!(!said.contains("\\u{") && said.len() < 3 * OUTPUT, "{said}");
        }
        assert_eq!(text("a\tb\nc", 10), "a\tb\nc");
    }
}
