//! Parses times.

use std::time::UNIX_EPOCH;

use crate::quote::quoted;

/// Parses a time as Kubernetes writes it. Returns milliseconds since the Unix epoch.
pub(crate) fn time_ms(text: &str) -> Result<u64, String> {
    let time = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time_ms = time.and_then(|since| u64::try_from(since.as_millis()).ok());
    time_ms
        .ok_or_else(|| format!("{} is not a time in UTC; write it like 2026-01-31T12:00:00Z", quoted(text)))
}

/// Parses a duration as Go writes it, such as `1m30s`. Returns milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).ok();
    let duration_ms = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok());
    duration_ms.ok_or_else(|| format!("{} is not a duration; write it like 60s or 1m30s", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_or_rejected() {
        assert_eq!([Ok(90_000), Ok(0), Ok(250)], ["1m30s", "0s", "250ms"].map(duration_ms));
        assert!(["", "60", "-1s", "soon"].into_iter().all(|bad| duration_ms(bad).is_err()));
    }

    #[test]
    fn times_are_parsed_or_rejected() {
        assert_eq!(Ok(0), time_ms("1970-01-01T00:00:00Z"));
        assert_eq!(Ok(1_769_860_800_250), time_ms("2026-01-31T12:00:00.25Z"));
        for bad in [
            "",
            "now",
            "2026-01-31",
            "2026-01-31T12:00:00+02:00",
            "2026-13-31T12:00:00Z",
            "é026-01-31T12:00:00Z",
        ] {
            assert!(time_ms(bad).is_err(), "{bad}");
        }
    }
}
