//! The table of contents of a dump in the custom format: what is in it, and what needs what.
//!
//! `pg_restore --list` shows the entries and not what they depend on, so it cannot tell which indexes, sequences and triggers
//! belong to a table. That stands in the file itself, whose format is that of `ReadHead` and `ReadToc` in PostgreSQL's
//! `pg_backup_archiver.c`; versions 1.12 (PostgreSQL 9.3) to 1.16 (17 and later) are read.
//!
//! What is read comes from a file somebody else may have made: nothing in it is believed beyond the bytes that are there, and
//! what is odd is an error, never a panic or a large allocation.

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number.
    pub(super) id: i64,
    /// What it is: `TABLE`, `TABLE DATA`, `FK CONSTRAINT` …
    pub(super) kind: String,
    /// Its name; for what belongs to a table often that of the table before its own.
    pub(super) name: String,
    /// Its schema, when it has one.
    pub(super) schema: Option<String>,
    /// The SQL that makes it.
    pub(super) sql: String,
    /// The numbers of the entries it needs.
    pub(super) needs: Vec<i64>,
}

/// Reads the table of contents from the beginning of a dump.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read(dump: &[u8]) -> Result<Vec<Entry>, String> {
    let mut input = Input {
        rest: dump,
        int_size: 4,
    };
    if input.take(5)? != b"PGDMP" {
        return Err("it is not a dump in the custom format".to_owned());
    }
    let version = (input.byte()?, input.byte()?);
    input.byte()?;
    if version.0 != 1 || !(12..=16).contains(&version.1) {
        return Err(format!("format {}.{} is not known", version.0, version.1));
    }
    input.int_size = usize::from(input.byte()?);
    if !(1..=8).contains(&input.int_size) {
        return Err("its numbers have an impossible size".to_owned());
    }
    let offset_size = usize::from(input.byte()?);
    input.byte()?;
    if version.1 >= 15 {
        input.byte()?;
    } else {
        input.int()?;
    }
    // When it was made: seven numbers. Then the database, and the versions of the server and of pg_dump.
    for _ in 0..7 {
        input.int()?;
    }
    for _ in 0..3 {
        input.text()?;
    }
    let count = input.int()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(input.entry(version.1)?);
        // Where its rows are.
        input.take(1 + offset_size)?;
    }
    Ok(entries)
}

struct Input<'a> {
    rest: &'a [u8],
    int_size: usize,
}

impl<'a> Input<'a> {
    fn entry(&mut self, version: u8) -> Result<Entry, String> {
        let id = self.int()?;
        self.int()?;
        // The catalogue and the number of the object there.
        self.text()?;
        self.text()?;
        let name = self.text()?.unwrap_or_default();
        let kind = self.text()?.unwrap_or_default();
        self.int()?;
        let sql = self.text()?.unwrap_or_default();
        // How to drop it, how to copy its rows.
        self.text()?;
        self.text()?;
        let schema = self.text()?.filter(|schema| !schema.is_empty());
        // Its tablespace, and how it is stored.
        self.text()?;
        if version >= 14 {
            self.text()?;
        }
        if version >= 16 {
            self.int()?;
        }
        // Its owner, and whether it has oids.
        self.text()?;
        self.text()?;
        let mut needs = Vec::new();
        while let Some(text) = self.text()? {
            needs.push(
                text.trim()
                    .parse()
                    .map_err(|_| "a dependency is no number".to_owned())?,
            );
        }
        Ok(Entry {
            id,
            kind,
            name,
            schema,
            sql,
            needs,
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// A number: its sign, then its bytes, the lowest first.
    fn int(&mut self) -> Result<i64, String> {
        let negative = self.byte()? != 0;
        let bytes = self.take(self.int_size)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let value = i64::try_from(value).map_err(|_| "a number is too large".to_owned())?;
        Ok(if negative { -value } else { value })
    }

    /// A text with its length before it; none has a negative one.
    fn text(&mut self) -> Result<Option<String>, String> {
        let length = self.int()?;
        if length < 0 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| "a text is too long".to_owned())?;
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of contents as `pg_dump` of a version writes it.
    fn written(version: u8, entries: &[Entry]) -> Vec<u8> {
        let mut out = b"PGDMP\x01".to_vec();
        out.extend([version, 0, 4, 8, 1]);
        let int = |out: &mut Vec<u8>, value: i64| {
            out.push(u8::from(value < 0));
            out.extend(u32::try_from(value.abs()).unwrap().to_le_bytes());
        };
        let text = |out: &mut Vec<u8>, text: &str| {
            int(out, i64::try_from(text.len()).unwrap());
            out.extend(text.as_bytes());
        };
        if version >= 15 {
            out.push(0);
        } else {
            int(&mut out, -1);
        }
        for _ in 0..7 {
            int(&mut out, 1);
        }
        for word in ["shop", "15.14", "15.14"] {
            text(&mut out, word);
        }
        int(&mut out, i64::try_from(entries.len()).unwrap());
        for entry in entries {
            int(&mut out, entry.id);
            int(&mut out, 1);
            for word in ["1259", "16384", &entry.name, &entry.kind] {
                text(&mut out, word);
            }
            int(&mut out, 2);
            text(&mut out, &entry.sql);
            text(&mut out, "DROP");
            int(&mut out, -1);
            text(&mut out, entry.schema.as_deref().unwrap_or_default());
            int(&mut out, -1);
            if version >= 14 {
                text(&mut out, "heap");
            }
            if version >= 16 {
                int(&mut out, 114);
            }
            for word in ["lifeboat", "false"] {
                text(&mut out, word);
            }
            for need in &entry.needs {
                text(&mut out, &need.to_string());
            }
            int(&mut out, -1);
            out.extend([0; 9]);
        }
        out.extend(b"rows follow");
        out
    }

    #[test]
    fn every_version_is_read_and_nothing_odd_is_believed() {
        let entry = Entry {
            id: 7,
            kind: "TABLE".to_owned(),
            name: "or ders".to_owned(),
            schema: Some("public".to_owned()),
            sql: "CREATE TABLE".to_owned(),
            needs: vec![3, 4],
        };
        let other = Entry {
            id: 8,
            schema: None,
            needs: Vec::new(),
            ..entry.clone()
        };
        let wanted = vec![entry, other];
        for version in [12, 14, 15, 16] {
            let bytes = written(version, &wanted);
            assert_eq!(read(&bytes).unwrap(), wanted, "1.{version}");
            let end = bytes.len() - "rows follow".len();
            for cut in 0..end {
                read(&bytes[..cut]).unwrap_err();
            }
            for at in 0..end {
                let mut odd = bytes.clone();
                odd[at] ^= 0xff;
                let _ = read(&odd);
            }
        }
        assert!(read(&written(17, &[])).unwrap_err().contains("1.17"));
        assert!(read(b"-- PostgreSQL database dump").is_err());
    }
}
