//! Quantities as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `999 B`, `1.2 kB`, `34 MB`: powers of 1000.
pub(crate) fn octets(n: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = n as f64;
    let mut unit = 0;
    // 999.5 would print as 1000.
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A round trip: `0.43 ms`, `12.3 ms`, `431 ms`, `1.20 s`.
pub(crate) fn rtt(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        _ if ms < 9.995 => format!("{ms:.2} ms"),
        _ if ms < 99.95 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

/// A span with its largest unit: `4 s`, `12 min`, `3 h`, `29 d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How far `time` (Unix seconds) lies from `now`: `in 29 d`, `3 h ago`, `now`.
pub(crate) fn relative(time: u64, now: u64) -> String {
    match time.cmp(&now) {
        std::cmp::Ordering::Less => format!("{} ago", span(now - time)),
        std::cmp::Ordering::Equal => "now".into(),
        std::cmp::Ordering::Greater => format!("in {}", span(time - now)),
    }
}

/// `2026-11-23 04:00:12 UTC`; `never` for a time that no calendar holds.
pub(crate) fn utc(time: u64) -> String {
    // humantime prints years 1970 to 9999.
    const LAST: u64 = 253_402_300_799;
    if time > LAST {
        return "never".into();
    }
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time)).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `2026-11-23T04:00:12.345Z`, from Unix milliseconds.
pub(crate) fn timestamp(unix_ms: u64) -> String {
    // The last millisecond that humantime prints.
    let ms = unix_ms.min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Unix seconds now; 0 on a clock before 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// A duration argument: `90s`, `12h`, `7d`, `1d 12h`. More than zero, at most 100 years.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|e| format!("{e}; write a number and a unit, such as 90s, 12h or 7d"))?;
    match duration.as_secs_f64() {
        0.0 => Err("must be more than zero".into()),
        s if s > 100.0 * 365.25 * 86_400.0 => Err("must be at most 100 years".into()),
        _ => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_keep_two_significant_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (34_000_000, "34 MB"),
            (u64::MAX, "18 EB"),
        ];
        for (n, text) in cases {
            assert_eq!(octets(n), text);
        }
    }

    #[test]
    fn round_trips_fit_six_characters() {
        let cases = [
            (430, "0.43 ms"),
            (12_300, "12.3 ms"),
            (99_960, "100 ms"),
            (431_000, "431 ms"),
            (1_200_000, "1.20 s"),
        ];
        for (us, text) in cases {
            assert_eq!(rtt(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn times_are_relative_to_now() {
        assert_eq!(relative(1_000, 1_000), "now");
        assert_eq!(relative(1_000 + 29 * 86_400, 1_000), "in 29 d");
        assert_eq!(relative(1_000, 1_090), "90 s ago");
        assert_eq!(relative(0, 7_200), "2 h ago");
    }

    #[test]
    fn dates_are_utc_and_bounded() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_795_406_412), "2026-11-23 04:00:12 UTC");
        assert_eq!(utc(u64::MAX), "never");
    }

    #[test]
    fn durations_need_a_unit_and_a_sane_size() {
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("1d 12h"), Ok(Duration::from_secs(36 * 3_600)));
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        for bad in [
            "",
            "7",
            "d",
            "-1d",
            "0s",
            "7 fortnights",
            "99999999999d",
            "1000000d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
