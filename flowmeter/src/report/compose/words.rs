//! Numbers, sizes and times as people read them.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use jiff::{Timestamp, tz::TimeZone};

pub(in crate::report) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

pub(in crate::report) fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// To the second.
pub(in crate::report) fn time(time: Timestamp) -> String {
    format!("{} UTC", time.strftime("%Y-%m-%d %H:%M:%S"))
}

/// `from` to `until`, the day once if it is one.
pub(in crate::report) fn period(from: Timestamp, until: Timestamp) -> String {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    if day(from) == day(until) {
        format!(
            "{} to {}",
            from.strftime("%Y-%m-%d %H:%M:%S"),
            until.strftime("%H:%M:%S UTC")
        )
    } else {
        format!("{} to {}", from.strftime("%Y-%m-%d %H:%M:%S"), time(until))
    }
}

pub(in crate::report) fn lasting(from: Timestamp, until: Timestamp) -> String {
    match until.duration_since(from).unsigned_abs().as_secs() {
        0 => "within a second".to_owned(),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// "1 finding", "2 findings".
pub(in crate::report) fn several(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A rate, in decimal units as networks have it.
pub(in crate::report) fn bits(rate: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = rate as f64;
    let mut unit = "bit/s";
    for larger in ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "bit/s" {
        format!("{value} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}
