//! The filter language: `job:orders age<2d evidence<restored text -word`.
//!
//! ```text
//! filter := term*            every term must hold
//! term   := "-"? (field op value | word)
//! op     := ":" | "=" | "<" | ">"
//! ```
//!
//! A word matches anywhere in what people can see of a row. A value may be quoted to hold spaces. Reading a filter never
//! fails half-way: it is a filter, or a sentence that says what is not understood.

use crate::domain::snapshot::EvidenceLevel;
use crate::domain::units::{parse_bytes, parse_duration};
use crate::domain::view::Query;
use crate::domain::{Bytes, Millis, Timestamp};

/// A value of a row that a filter can look at.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Field {
    /// Text; `:` means contains, `=` means is.
    Text(String),
    /// A length of time, such as an age.
    Time(Millis),
    /// A size.
    Size(Bytes),
    /// A level of evidence.
    Evidence(EvidenceLevel),
    /// A count.
    Number(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Has,
    Is,
    Below,
    Above,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Word(String),
    Compare { field: String, op: Op, value: String },
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    not: bool,
    test: Test,
}

/// A filter that has been read; the empty one lets everything through.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

impl Filter {
    /// Reads a filter for rows that have these fields.
    ///
    /// # Errors
    /// A sentence that says what is not understood.
    pub fn parse(text: &str, fields: &[&str]) -> Result<Self, String> {
        let mut terms = Vec::new();
        for token in tokens(text) {
            let (not, body) = match token.strip_prefix('-') {
                Some(rest) if !rest.is_empty() => (true, rest),
                _ => (false, token.as_str()),
            };
            let found = body.char_indices().find(|(_, c)| matches!(c, ':' | '=' | '<' | '>'));
            let condition = match found {
                Some((at, sign)) if fields.contains(&body[..at].to_ascii_lowercase().as_str()) => {
                    let op = match sign {
                        '<' => Op::Below,
                        '>' => Op::Above,
                        '=' => Op::Is,
                        _ => Op::Has,
                    };
                    let field = body[..at].to_ascii_lowercase();
                    let value = body[at + 1..].trim_matches('"').to_lowercase();
                    check(&field, op, &value)?;
                    Test::Compare { field, op, value }
                }
                Some((at, _)) if at > 0 && body[..at].chars().all(|c| c.is_ascii_alphabetic()) => {
                    return Err(format!(
                        "no field \"{}\" here; there are {}",
                        &body[..at],
                        fields.join(" ")
                    ));
                }
                _ => Test::Word(body.trim_matches('"').to_lowercase()),
            };
            terms.push(Term { not, test: condition });
        }
        Ok(Self { terms })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a row passes: its text in lower case, and its fields by name.
    pub fn passes(&self, text: &str, field: impl Fn(&str) -> Option<Field>) -> bool {
        self.terms.iter().all(|term| {
            let holds = match &term.test {
                Test::Word(word) => text.contains(word.as_str()),
                Test::Compare { field: name, op, value } => field(name).is_some_and(|found| holds(&found, *op, value)),
            };
            holds != term.not
        })
    }

    /// The part of the filter that the agent can apply before it sends rows.
    pub fn query(&self, now: Timestamp) -> Query {
        let mut query = Query::default();
        for term in self.terms.iter().filter(|term| !term.not) {
            match &term.test {
                Test::Word(word) => query.text = Some(word.clone()),
                Test::Compare { field, op, value } => match (field.as_str(), op) {
                    ("job", Op::Is) => query.job = Some(value.clone()),
                    ("source", Op::Is) => query.source = Some(value.clone()),
                    ("tag", Op::Is) => query.tag = Some(value.clone()),
                    ("evidence", Op::Above) => query.evidence = EvidenceLevel::from_word(value),
                    ("age", Op::Below) => query.since = moment(now, value),
                    ("age", Op::Above) => query.until = moment(now, value),
                    _ => {}
                },
            }
        }
        query
    }
}

fn moment(now: Timestamp, value: &str) -> Option<Timestamp> {
    now.checked_sub_signed(parse_duration(value).ok()?.to_chrono())
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                token.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !token.is_empty() {
                    tokens.push(std::mem::take(&mut token));
                }
            }
            c => token.push(c),
        }
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// Says at once, while it is typed, when a value cannot be compared; an empty value is still being typed.
fn check(field: &str, op: Op, value: &str) -> Result<(), String> {
    if value.is_empty() || op == Op::Has {
        return Ok(());
    }
    match field {
        "age" | "took" => parse_duration(value).map(drop),
        "size" | "added" => parse_bytes(&value.to_ascii_uppercase().replace("IB", "iB")).map(drop),
        "evidence" if EvidenceLevel::from_word(value).is_none() => {
            let words = EvidenceLevel::ALL.map(EvidenceLevel::word);
            Err(format!("evidence is one of {}", words.join(" ")))
        }
        _ => Ok(()),
    }
}

fn holds(found: &Field, op: Op, value: &str) -> bool {
    if value.is_empty() {
        return true;
    }
    let wanted = match found {
        Field::Text(text) => {
            let text = text.to_lowercase();
            return match op {
                Op::Has => text.contains(value),
                Op::Is => text == value,
                Op::Below => text.as_str() < value,
                Op::Above => text.as_str() > value,
            };
        }
        Field::Time(_) => parse_duration(value).ok().map(Field::Time),
        Field::Size(_) => parse_bytes(&value.to_ascii_uppercase().replace("IB", "iB"))
            .ok()
            .map(Field::Size),
        Field::Evidence(level) if op == Op::Has => return level.word().starts_with(value),
        Field::Evidence(_) => EvidenceLevel::from_word(value).map(Field::Evidence),
        Field::Number(_) => value.parse().ok().map(Field::Number),
    };
    wanted.is_some_and(|wanted| match op {
        Op::Has | Op::Is => *found == wanted,
        Op::Below => *found < wanted,
        Op::Above => *found > wanted,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: [&str; 4] = ["job", "age", "evidence", "size"];

    fn row(name: &str) -> Option<Field> {
        match name {
            "job" => Some(Field::Text("orders-db".to_owned())),
            "age" => Some(Field::Time(Millis::from_secs(3600))),
            "evidence" => Some(Field::Evidence(EvidenceLevel::Decoded)),
            "size" => Some(Field::Size(Bytes(5 << 20))),
            _ => None,
        }
    }

    fn passes(filter: &str) -> bool {
        Filter::parse(filter, &FIELDS)
            .unwrap()
            .passes("9c41e0a2 orders-db nightly", row)
    }

    #[test]
    fn the_filter_of_the_design_works() {
        assert!(passes("job:orders age<2d evidence<restored nightly"));
        assert!(passes("evidence=decoded size>4MiB -weekly"));
        assert!(!passes("evidence>decoded"));
        assert!(!passes("job:orders age<30m"));
        assert!(!passes("-nightly"));
        assert!(passes("\"orders-db nightly\""));
        assert!(passes(""));
        assert!(passes("age<"), "a value that is still being typed hides nothing");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert!(Filter::parse("color:red", &FIELDS).unwrap_err().contains("job age"));
        assert!(Filter::parse("age<soon", &FIELDS).unwrap_err().contains("duration"));
        assert!(Filter::parse("evidence>good", &FIELDS).unwrap_err().contains("probed"));
    }

    #[test]
    fn the_agent_is_asked_for_what_it_can_filter() {
        let now: Timestamp = "2026-11-20T03:12:00Z".parse().unwrap();
        let query = Filter::parse("job=orders-db age<1d nightly", &["job", "age"])
            .unwrap()
            .query(now);
        assert_eq!(query.job.as_deref(), Some("orders-db"));
        assert_eq!(query.since, Some("2026-11-19T03:12:00Z".parse().unwrap()));
        assert_eq!(query.text.as_deref(), Some("nightly"));
    }

    proptest! {
        #[test]
        fn no_filter_panics(text in ".{0,60}") {
            if let Ok(filter) = Filter::parse(&text, &FIELDS) {
                filter.passes("orders", row);
                filter.query(Timestamp::UNIX_EPOCH);
            }
        }
    }
}
