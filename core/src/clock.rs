//! Time: the only file that reads the machine's clocks.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Where a manual clock starts, in milliseconds since the Unix epoch.
pub const MANUAL_CLOCK_START_MS: u64 = 1_700_000_000_000;

/// The two times a shard needs, both in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since the Unix epoch: for `time`, `exp` and fences.
    pub wall: u64,
    /// From an arbitrary start, never set back, counting suspend: for leases and waits.
    pub mono: u64,
}

/// A registry's clock.
#[derive(Debug)]
pub(crate) enum Clock {
    System,
    /// Both times are this one number.
    Manual(AtomicU64),
    /// Two numbers that a simulation sets.
    #[cfg(any(test, feature = "__fuzz"))]
    Simulated {
        wall: AtomicU64,
        mono: AtomicU64,
    },
}

impl Clock {
    pub fn manual() -> Clock {
        Clock::Manual(AtomicU64::new(MANUAL_CLOCK_START_MS * 1_000_000))
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn simulated(wall: u64, mono: u64) -> Clock {
        Clock::Simulated { wall: AtomicU64::new(wall), mono: AtomicU64::new(mono) }
    }

    /// The wall clock of a simulation may be set back.
    #[cfg(any(test, feature = "__fuzz"))]
    pub fn set_wall(&self, to: u64) {
        if let Clock::Simulated { wall, .. } = self {
            wall.store(to, Ordering::SeqCst);
        }
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn set_mono(&self, to: u64) {
        if let Clock::Simulated { mono, .. } = self {
            mono.fetch_max(to, Ordering::SeqCst);
        }
    }

    /// Whether it moves only when somebody moves it.
    pub fn is_manual(&self) -> bool {
        !matches!(self, Clock::System)
    }

    pub fn wall(&self) -> u64 {
        match self {
            Clock::System => system_wall(),
            Clock::Manual(now) => now.load(Ordering::SeqCst),
            #[cfg(any(test, feature = "__fuzz"))]
            Clock::Simulated { wall, .. } => wall.load(Ordering::SeqCst),
        }
    }

    pub fn mono(&self) -> u64 {
        match self {
            Clock::System => system_mono(),
            Clock::Manual(now) => now.load(Ordering::SeqCst),
            #[cfg(any(test, feature = "__fuzz"))]
            Clock::Simulated { mono, .. } => mono.load(Ordering::SeqCst),
        }
    }

    pub fn now(&self) -> Now {
        Now { wall: self.wall(), mono: self.mono() }
    }

    /// Sets a manual clock; time never goes back.
    pub fn set(&self, to: u64) {
        if let Clock::Manual(now) = self {
            now.fetch_max(to, Ordering::SeqCst);
        }
    }
}

/// What the standard library's clock says, without its detour over a difference of two times: every write asks.
#[cfg(target_os = "linux")]
fn system_wall() -> u64 {
    nanos_of(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
}

/// 0 for what lies before the clock's beginning.
#[cfg(target_os = "linux")]
fn nanos_of(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods)]
fn system_wall() -> u64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
fn system_mono() -> u64 {
    nanos_of(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// Elsewhere the standard monotonic clock: whether it counts suspend depends on the platform.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods)]
fn system_mono() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    // A start above zero leaves room for deadlines that are already over.
    1_000_000_000 + u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
}

/// A duration in nanoseconds; `u64::MAX` for those that do not fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration from a number of seconds, to the nearest nanosecond.
///
/// Negative, NaN and infinite numbers are `invalid_argument`; `what` names the argument.
pub fn duration_from_secs(what: &str, seconds: f64) -> Result<Duration> {
    duration_from(what, seconds, 1e9)
}

/// A duration from a number of milliseconds, to the nearest nanosecond.
///
/// Negative, NaN and infinite numbers are `invalid_argument`; `what` names the argument.
pub fn duration_from_millis(what: &str, milliseconds: f64) -> Result<Duration> {
    duration_from(what, milliseconds, 1e6)
}

fn duration_from(what: &str, number: f64, nanos_per_unit: f64) -> Result<Duration> {
    if number.is_nan() || number < 0.0 {
        return Err(Error::argument(format!("{what} is {number}; it must not be negative")));
    }
    let whole = number.trunc();
    // Whole and fraction apart: a large number keeps its nanoseconds as exact as a float can hold them.
    let nanos_whole = whole * nanos_per_unit;
    if nanos_whole >= 2f64.powi(63) {
        return Err(Error::argument(format!("{what} is {number}; that is past the year 2262")));
    }
    let nanos = (whole as u64) * (nanos_per_unit as u64)
        + ((number - whole) * nanos_per_unit).round() as u64;
    Ok(Duration::from_nanos(nanos))
}

/// Reads a duration with its unit: `"60s"`, `"1500ms"`, `"2.5h"`. Units: `ns us ms s m h d`.
///
/// A bare number is `invalid_argument`; `what` names the field.
pub fn parse_duration(what: &str, text: &str) -> Result<Duration> {
    let wrong = || {
        let text = crate::error::shorten(text.as_bytes());
        let example = r#"write a number and a unit, such as "60s" (units: ns us ms s m h d)"#;
        Error::argument(format!("{what} is {text}; {example}"))
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let nanos_per_unit: f64 = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        "d" => 86_400e9,
        _ => return Err(wrong()),
    };
    let plain = number.trim_end();
    if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(wrong());
    }
    duration_from(what, plain.parse().map_err(|_| wrong())?, nanos_per_unit)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest of `s`, `ms`, `ns` that is exact.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos.is_multiple_of(1_000_000_000) {
        format!("{}s", nanos / 1_000_000_000)
    } else if nanos.is_multiple_of(1_000_000) {
        format!("{}ms", nanos / 1_000_000)
    } else {
        format!("{nanos}ns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn durations_round_trip() {
        for text in ["0s", "60s", "1500ms", "1ns", "86400s"] {
            assert_eq!(format_duration(parse_duration("ttl", text).unwrap()), text);
        }
        assert_eq!(parse_duration("ttl", "1.5m").unwrap(), Duration::from_secs(90));
        for text in ["", "60", "s", "-1s", "1 parsec", "1e3s", "1..5s", "99999999999d"] {
            let error = parse_duration("ttl", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn numbers_become_durations_to_the_nearest_nanosecond() {
        assert_eq!(duration_from_secs("ttl", 0.1).unwrap().as_nanos(), 100_000_000);
        assert_eq!(duration_from_millis("ttl", 0.0000014).unwrap().as_nanos(), 1);
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(duration_from_secs("ttl", bad).is_err());
        }
    }

    #[test]
    fn system_clocks_run() {
        let clock = Clock::System;
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono >= first.mono && first.wall > 1_600_000_000_000_000_000);
    }
}
