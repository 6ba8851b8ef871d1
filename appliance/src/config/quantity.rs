//! Values that the configuration and the command line spell in words: sizes, durations, lists of cores,
//! "automatic". Parsed where they are read, so that an error names the line.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes, written as `4GiB`, `512 MiB`, `64KiB`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "String")]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let bad = || format!("'{text}' is not a size such as 64KiB, 512MiB or 4GiB");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" | "K" => KIB,
            "MiB" | "M" => MIB,
            "GiB" | "G" => GIB,
            "TiB" | "T" => GIB * 1024,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(factor).map(Size).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(GIB * 1024, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let exact = |(factor, _): &&(u64, &str)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match units.iter().find(exact) {
            Some((factor, unit)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;
pub const GIB: u64 = 1024 * MIB;

/// A span of time, written as `500ms`, `30s`, `5m` or `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let bad = || format!("'{text}' is not a duration such as 500ms, 30s, 5m or 2h");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor_ms: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(factor_ms).map(|ms| Span(Duration::from_millis(ms))).ok_or_else(bad)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let exact = |(factor, _): &&(u128, &str)| ms >= *factor && ms.is_multiple_of(*factor);
        match units.iter().find(exact) {
            Some((factor, unit)) => write!(f, "{}{unit}", ms / factor),
            None => write!(f, "{ms}ms"),
        }
    }
}

/// A value, or `auto`: decided at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    Auto,
    Given(T),
}

impl<T: FromStr<Err = String>> FromStr for Auto<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Auto<T>, String> {
        if text == "auto" { Ok(Auto::Auto) } else { text.parse().map(Auto::Given) }
    }
}

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auto::Auto => f.write_str("auto"),
            Auto::Given(value) => value.fmt(f),
        }
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Auto<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Auto<T>, D::Error> {
        Plain::deserialize(from)?.0.parse().map_err(serde::de::Error::custom)
    }
}

impl<T: fmt::Display> Serialize for Auto<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Processors, written as `0-3,6`. In order, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CoreList(pub Vec<usize>);

/// Most cores of one server: their number is part of every log frame and every per-core list.
pub(super) const CORES_MAX: usize = 256;
/// Highest number of a processor that can be named (the kernel's own limit is 8192).
const CORE_NUMBER_MAX: usize = 8191;

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<CoreList, String> {
        let bad = || format!("'{text}' is not a list of processors such as 0-3,6");
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: usize = first.trim().parse().map_err(|_| bad())?;
            let last: usize = last.trim().parse().map_err(|_| bad())?;
            if first > last || last > CORE_NUMBER_MAX {
                return Err(bad());
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        cores.dedup();
        if cores.len() > CORES_MAX {
            return Err(format!("'{text}' names {} processors; at most {CORES_MAX} can be used", cores.len()));
        }
        Ok(CoreList(cores))
    }
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

/// Permission bits, written in octal digits as a string: `0755`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let is_octal = (3..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o7777);
        mode.map(Mode).ok_or_else(|| format!("'{text}' is not a mode such as 0755"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A string, or a whole number as one would write it without quotes.
struct Plain(String);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Plain, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Plain, E> {
                Ok(Plain(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
                Ok(Plain(number.to_string()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl TryFrom<Plain> for Size {
    type Error = String;

    fn try_from(text: Plain) -> Result<Size, String> {
        text.0.parse()
    }
}

/// serde's names for "from and to text".
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

as_text!(Span, CoreList, Mode);

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_in_its_units_and_shown_in_the_largest_that_fits() {
        for (text, bytes, shown) in [
            ("4GiB", 4 * GIB, "4GiB"),
            ("512 MiB", 512 * MIB, "512MiB"),
            ("1024M", GIB, "1GiB"),
            ("100", 100, "100"),
            ("2T", 2048 * GIB, "2TiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes);
            assert_eq!(size.to_string(), shown);
        }
        for bad in ["", "GiB", "4 GB", "-1", "1.5GiB", "99999999999TiB", "4GiB x"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!("90s".parse::<Span>().unwrap().0, Duration::from_secs(90));
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
        assert_eq!("300s".parse::<Span>().unwrap().to_string(), "5m");
        assert_eq!("250ms".parse::<Span>().unwrap().to_string(), "250ms");
        for bad in ["", "30", "s", "1d", "-1s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!("1777".parse::<Mode>().unwrap().0, 0o1777);
        assert_eq!("755".parse::<Mode>().unwrap().to_string(), "0755");
        for bad in ["", "7", "0799", "17777", "rwx", "+755"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_cores_is_sorted_and_each_core_is_named_once() {
        assert_eq!("3,0-1,1".parse::<CoreList>().unwrap().0, [0, 1, 3]);
        for bad in ["", "a", "3-1", "1-", "-1", "99999", "0-300"] {
            assert!(bad.parse::<CoreList>().is_err(), "{bad}");
        }
    }
}
