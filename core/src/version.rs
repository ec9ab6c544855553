//! The stamp of a value, as users see it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, shorten};

/// Which state of a key's value this is. Every put, incr, update, touch and persist makes a greater one;
/// locking changes nothing.
///
/// As text it is sortable, has only `[0-9a-f-]` (so it is a good ETag), and parses back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    pub(crate) time: u64,
    pub(crate) writer: u128,
    pub(crate) minor: Option<Minor>,
}

/// Raised by touch and persist: they beat the expiry that they raced and lose to a newer put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Minor {
    pub clock: u64,
    pub member: u128,
}

impl Version {
    /// Its numbers, for the libraries of other languages: the write's time and writer, and those of a later touch.
    #[doc(hidden)]
    pub fn parts(self) -> (u64, u128, Option<(u64, u128)>) {
        (self.time, self.writer, self.minor.map(|minor| (minor.clock, minor.member)))
    }

    /// What has these [`parts`](Version::parts).
    #[doc(hidden)]
    pub fn of_parts(time: u64, writer: u128, minor: Option<(u64, u128)>) -> Version {
        Version { time, writer, minor: minor.map(|(clock, member)| Minor { clock, member }) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:032x}", self.time, self.writer)?;
        match self.minor {
            Some(Minor { clock, member }) => write!(f, "-{clock:016x}-{member:032x}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Version, Error> {
        parse(text).ok_or_else(|| {
            let text = shorten(text.as_bytes());
            Error::argument(format!("if_version is {text}, not the version of an entry"))
        })
    }
}

fn parse(text: &str) -> Option<Version> {
    let mut parts = text.split('-');
    let time = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let writer = hex(parts.next()?, 32)?;
    let minor = match parts.next() {
        Some(clock) => Some(Minor {
            clock: u64::try_from(hex(clock, 16)?).ok()?,
            member: hex(parts.next()?, 32)?,
        }),
        None => None,
    };
    parts.next().is_none().then_some(Version { time, writer, minor })
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let proper =
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if proper { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions() -> impl Strategy<Value = Version> {
        let minor = prop::option::of((0u64..4, 0u128..4));
        (0u64..4, 0u128..4, minor).prop_map(|(time, writer, minor)| Version {
            time,
            writer,
            minor: minor.map(|(clock, member)| Minor { clock, member }),
        })
    }

    proptest! {
        #[test]
        fn text_sorts_as_versions_do_and_parses_back(a in versions(), b in versions()) {
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
            prop_assert_eq!(a.to_string().parse::<Version>().unwrap(), a);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1", "0-0", &format!("{:016X}-{:032x}", 171, 1), "é-é"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
