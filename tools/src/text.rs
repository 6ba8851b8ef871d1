//! Values as text: names that need not be UTF-8, times, hexadecimal, JSON strings.
//!
//! Callers: verify and dump.

use cache::world::Time;
use std::fmt::Write;

/// A name or path as it is printed: control characters, backslashes and what is not UTF-8 are escaped.
pub(crate) fn name(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_control() => text.extend(char.escape_default()),
                char => text.push(char),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A time as seconds since 1970 with nine digits behind the point.
pub(crate) fn time(time: Time) -> String {
    format!("{}.{:09}", time.secs, time.nanos)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Hexadecimal digits as bytes. White space is skipped, and so is each line from a `#` on. `None`
/// when there is anything else, or half a byte.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for line in text.lines() {
        let digits = line.split('#').next().unwrap_or_default();
        for char in digits.chars().filter(|char| !char.is_whitespace()) {
            let digit = char.to_digit(16)? as u8;
            match high.take() {
                Some(high) => bytes.push(high << 4 | digit),
                None => high = Some(digit),
            }
        }
    }
    high.is_none().then_some(bytes)
}

/// A JSON string, with its quotes.
pub(crate) fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            char if u32::from(char) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A count of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let power = (count.ilog2() / 10) as usize;
    format!("{:.1} {}", count as f64 / (1u64 << (10 * power)) as f64, UNITS[power - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_is_printed_without_controls() {
        assert_eq!(name(b"plain name.exr"), "plain name.exr");
        assert_eq!(name("ärger".as_bytes()), "ärger");
        assert_eq!(name(b"a\nb\x1b[31m\\\xff"), "a\\nb\\u{1b}[31m\\\\\\xff");
    }

    #[test]
    fn hexadecimal_text_is_read_with_comments_and_refused_when_it_is_something_else() {
        assert_eq!(parse_hex("# call\n00 Ff\n10# more\n"), Some(vec![0, 255, 16]));
        assert_eq!(parse_hex("123"), None);
        assert_eq!(parse_hex("xy"), None);
        assert_eq!(parse_hex(&hex(&[1, 2, 254])), Some(vec![1, 2, 254]));
    }

    #[test]
    fn json_strings_escape_what_json_must_escape() {
        assert_eq!(json("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }

    #[test]
    fn byte_counts_have_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }
}
