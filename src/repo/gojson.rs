//! Writes JSON the way Go's `encoding/json` does, byte for byte, so that our trees and restic's deduplicate.
//!
//! Two layers: a node's name is first quoted like Go's `strconv.Quote` (which can carry bytes that are not UTF-8), and
//! the result is then written as a JSON string.

use std::fmt::Write as _;

/// Appends `text` as a JSON string, with the escapes Go's encoder uses.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = 0;
    let bytes = text.as_bytes();
    for (at, ch) in text.char_indices() {
        let escape: &[u8] = match ch {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '<' => b"\\u003c",
            '>' => b"\\u003e",
            '&' => b"\\u0026",
            '\u{2028}' => b"\\u2028",
            '\u{2029}' => b"\\u2029",
            '\0'..='\u{1f}' => &control(ch),
            _ => continue,
        };
        out.extend_from_slice(&bytes[rest..at]);
        out.extend_from_slice(escape);
        rest = at + ch.len_utf8();
    }
    out.extend_from_slice(&bytes[rest..]);
    out.push(b'"');
}

fn control(ch: char) -> [u8; 6] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let code = ch as usize;
    [b'\\', b'u', b'0', b'0', DIGITS[(code >> 4) & 15], DIGITS[code & 15]]
}

/// Quotes a name as Go's `strconv.Quote` does, without the outer quotes; the result is always UTF-8.
pub fn quote(name: &[u8]) -> String {
    if name
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    {
        // The common case: nothing to escape.
        return String::from_utf8_lossy(name).into_owned();
    }
    let mut out = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for ch in chunk.valid().chars() {
            quote_char(&mut out, ch);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn quote_char(out: &mut String, ch: char) {
    let code = ch as u32;
    match ch {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        ' '..='~' => out.push(ch),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        // Writing to a String cannot fail.
        '\0'..='\u{1f}' | '\u{7f}' => drop(write!(out, "\\x{code:02x}")),
        _ if is_print(ch) => out.push(ch),
        '\0'..='\u{ffff}' => drop(write!(out, "\\u{code:04x}")),
        _ => drop(write!(out, "\\U{code:08x}")),
    }
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols. Rust's debug escaping uses the same classes
/// when the character is not the first of the string.
fn is_print(ch: char) -> bool {
    let mut text = String::with_capacity(8);
    text.push('a');
    text.push(ch);
    text.escape_debug().nth(1) == Some(ch)
}

/// Undoes [`quote`]; `None` for text that Go's `strconv.Unquote` refuses.
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    if !text.contains(['\\', '"', '\n']) {
        return Some(text.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match ch {
            '"' | '\n' => return None,
            '\\' => unescape(&mut chars, &mut out)?,
            _ => push_char(&mut out, ch),
        }
    }
    Some(out)
}

fn unescape(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let escape = chars.next()?;
    let byte = match escape {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(digits(chars, 2, 16)?).ok()?,
        '0'..='7' => {
            let low = digits(chars, 2, 8)?;
            u8::try_from(escape.to_digit(8)? * 64 + low).ok()?
        }
        'u' => return char::from_u32(digits(chars, 4, 16)?).map(|ch| push_char(out, ch)),
        'U' => return char::from_u32(digits(chars, 8, 16)?).map(|ch| push_char(out, ch)),
        _ => return None,
    };
    out.push(byte);
    Some(())
}

fn push_char(out: &mut Vec<u8>, ch: char) {
    out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
}

fn digits(chars: &mut std::str::Chars<'_>, count: u32, radix: u32) -> Option<u32> {
    let mut value: u32 = 0;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_like_gos() {
        assert_eq!(
            json("a<b>&\"\\\n\u{1}\u{2028}ü"),
            r#""a\u003cb\u003e\u0026\"\\\n\u0001\u2028ü""#
        );
    }

    #[test]
    fn names_are_quoted_like_gos() {
        let cases: [(&[u8], &str); 7] = [
            (b"plain name", "plain name"),
            ("grün".as_bytes(), "grün"),
            (b"a\xff\xfeb", r"a\xff\xfeb"),
            (b"tab\tnl\nq\"b\\", r#"tab\tnl\nq\"b\\"#),
            (b"\x7f\x01\x0b", r"\x7f\x01\v"),
            ("a\u{200b}\u{a0}".as_bytes(), r"a\u200b\u00a0"),
            ("e\u{301}\u{e0001}".as_bytes(), "e\u{301}\\U000e0001"),
        ];
        for (name, quoted) in cases {
            assert_eq!(quote(name), quoted);
            assert_eq!(unquote(quoted).unwrap(), name);
        }
        for bad in [r"\", r"\x4", r"\q", r"\ud800", "\""] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_name_survives(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let quoted = quote(&name);
            let mut out = Vec::new();
            push_string(&mut out, &quoted);
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(unquote(&back).unwrap(), name);
        }
    }
}
