//! Durations in Go's notation: `1s`, `500ms`, `1m30s`; of configurations and of flags.
//!
//! Must not know which field it reads.

use std::time::Duration;

/// Units of Go's notation, in nanoseconds.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
/// Maximum duration: a year.
const SECONDS_MAX: f64 = 366.0 * 24.0 * 3600.0;

/// Parses a duration that is not negative.
///
/// # Errors
/// One sentence with an example.
pub fn read(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as `1s`, `500ms` or `1m30s`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut nanos) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?;
        nanos += number * unit;
        rest = &rest[letters..];
    }
    match nanos / 1e9 <= SECONDS_MAX && !text.is_empty() {
        true => Ok(Duration::from_nanos(nanos.round() as u64)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn go_s_notation_is_read() {
        let cases = [("0", 0), ("1s", 1_000_000), ("500ms", 500_000), ("1m30s", 90_000_000), ("1.5s", 1_500_000)];
        for (text, micros) in cases {
            assert_eq!(read(text).unwrap(), Duration::from_micros(micros), "{text}");
        }
        assert_eq!(read("20µs").unwrap(), Duration::from_micros(20));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "1", "s", "1 s", "-1s", "1.2.3s", "1x", "99999999h", "ms1"] {
            assert!(read(text).unwrap_err().contains("is no duration"), "{text}");
        }
    }
}
