//! The options after the `?` of an address, each used once and each checked.

use super::{AddressError, ObjectLock, Sse, ThawTier, secret_in_address};
use crate::domain::units::parse_bytes;

/// The options of an S3 address, in the order they are told to people.
pub const S3_OPTIONS: [&str; 14] = [
    "endpoint",
    "region",
    "path_style",
    "profile",
    "class_data",
    "class_meta",
    "sse",
    "lock_mode",
    "lock_days",
    "thaw_days",
    "thaw_tier",
    "parallel",
    "limit_upload",
    "limit_download",
];

/// The storage classes of Amazon; other providers name their own.
const CLASSES: [&str; 10] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
    "OUTPOSTS",
    "EXPRESS_ONEZONE",
];

/// The longest lock, in days: a hundred years, so that a slip of the finger is noticed.
const LONGEST_LOCK_DAYS: u32 = 36_500;

/// The options of an address, each of which is used once.
pub(super) struct Options {
    pub(super) given: Vec<(String, String)>,
}

impl Options {
    pub(super) fn read(query: &str) -> Result<Self, AddressError> {
        let given: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(|_| {
            AddressError::new(
                "the options of the address cannot be read",
                "write ?NAME=VALUE&NAME=VALUE",
            )
        })?;
        for (at, (name, value)) in given.iter().enumerate() {
            let secret = ["key", "secret", "password", "token"];
            if secret.iter().any(|word| name.to_ascii_lowercase().contains(word)) {
                return Err(secret_in_address());
            }
            if !S3_OPTIONS.contains(&name.as_str()) {
                let hint = format!("the options are {}", S3_OPTIONS.join(", "));
                return Err(AddressError::new(format!("there is no option \"{name}\""), hint));
            }
            if given[..at].iter().any(|(other, _)| other == name) {
                return Err(AddressError::new(format!("{name} is given twice"), "keep one of them"));
            }
            if value.is_empty() {
                return Err(AddressError::new(
                    format!("{name} is empty"),
                    format!("leave {name} out, or give it a value"),
                ));
            }
        }
        Ok(Self { given })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.swap_remove(at).1)
    }

    pub(super) fn word(&mut self, name: &'static str) -> Result<Option<String>, AddressError> {
        let word = self.take(name);
        match &word {
            Some(text)
                if !text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') =>
            {
                Err(wrong(name, text, "one word, such as eu-west-1"))
            }
            _ => Ok(word),
        }
    }

    pub(super) fn yes_or_no(&mut self, name: &'static str) -> Result<Option<bool>, AddressError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("true" | "yes" | "1") => Ok(Some(true)),
            Some("false" | "no" | "0") => Ok(Some(false)),
            Some(other) => Err(wrong(name, other, "true or false")),
        }
    }

    pub(super) fn number<T>(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<Option<T>, AddressError>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.take(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(wrong(name, &text, &format!("{} to {}", range.start(), range.end()))),
        }
    }

    pub(super) fn size(&mut self, name: &'static str) -> Result<Option<u64>, AddressError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match parse_bytes(&text) {
            Ok(size) if size.0 >= 1024 => Ok(Some(size.0)),
            _ => Err(wrong(name, &text, "bytes a second, such as 10MiB, at least 1KiB")),
        }
    }

    /// A storage class; what has to be readable at once cannot have a cold one.
    pub(super) fn class(&mut self, name: &'static str, own: bool, hot: bool) -> Result<Option<String>, AddressError> {
        let Some(class) = self.take(name) else {
            return Ok(None);
        };
        if hot && matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE") {
            let hint = "index, snapshots, keys and locks are read at once; only class_data can be cold";
            return Err(AddressError::new(format!("{name} cannot be {class}"), hint));
        }
        let shaped = class
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if CLASSES.contains(&class.as_str()) || (own && shaped) {
            Ok(Some(class))
        } else {
            Err(wrong(name, &class, &CLASSES.join(", ")))
        }
    }

    pub(super) fn sse(&mut self) -> Result<Option<Sse>, AddressError> {
        Ok(match self.take("sse").as_deref() {
            None => None,
            Some("AES256") => Some(Sse::Aes256),
            Some("aws:kms") => Some(Sse::Kms(None)),
            Some(other) => match other.strip_prefix("aws:kms:") {
                Some(key) if !key.is_empty() => Some(Sse::Kms(Some(key.to_owned()))),
                _ => return Err(wrong("sse", other, "AES256, aws:kms or aws:kms:KEY-ID")),
            },
        })
    }

    pub(super) fn lock(&mut self) -> Result<Option<ObjectLock>, AddressError> {
        let days = self.number("lock_days", 1..=LONGEST_LOCK_DAYS)?;
        let mode = self.take("lock_mode");
        let compliance = match mode.as_deref() {
            None => None,
            Some("GOVERNANCE") => Some(false),
            Some("COMPLIANCE") => Some(true),
            Some(other) => return Err(wrong("lock_mode", other, "GOVERNANCE or COMPLIANCE")),
        };
        match (compliance, days) {
            (Some(compliance), Some(days)) => Ok(Some(ObjectLock { compliance, days })),
            (None, None) => Ok(None),
            _ => Err(AddressError::new(
                "lock_mode and lock_days belong together",
                "write for example lock_mode=GOVERNANCE&lock_days=30",
            )),
        }
    }

    pub(super) fn tier(&mut self) -> Result<ThawTier, AddressError> {
        match self.take("thaw_tier").as_deref() {
            None | Some("Standard") => Ok(ThawTier::Standard),
            Some("Expedited") => Ok(ThawTier::Expedited),
            Some("Bulk") => Ok(ThawTier::Bulk),
            Some(other) => Err(wrong("thaw_tier", other, "Expedited, Standard or Bulk")),
        }
    }
}

fn wrong(name: &str, value: &str, allowed: &str) -> AddressError {
    AddressError::new(format!("{name} cannot be \"{value}\""), format!("write {allowed}"))
}
