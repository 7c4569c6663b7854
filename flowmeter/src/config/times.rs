//! When an entry of `detect.allow` holds: from, until, and windows of a week.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::detect::Allow;

const MINUTE_NS: u64 = 60_000_000_000;
const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
/// 1970-01-01 was a Thursday.
const EPOCH_MINUTES: u64 = 3 * DAY_MINUTES as u64;

/// When something holds, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Nanoseconds since the Unix epoch, the end excluded.
    from_ns: u64,
    until_ns: u64,
    weekly: Vec<Window>,
}

/// Minutes after Monday 00:00; it may run on past the end of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u16,
    minutes: u16,
}

impl Times {
    /// # Errors
    /// The key whose text cannot be understood, and how it is written.
    pub fn new(allow: &Allow) -> Result<Self, String> {
        let times = Self {
            from_ns: moment(&allow.from)
                .map_err(|message| format!("from: {message}"))?
                .unwrap_or(0),
            until_ns: moment(&allow.until)
                .map_err(|message| format!("until: {message}"))?
                .unwrap_or(u64::MAX),
            weekly: windows(&allow.weekly).map_err(|message| format!("weekly: {message}"))?,
        };
        if times.from_ns >= times.until_ns {
            return Err(format!(
                "from: `{}` is not before until, `{}`",
                allow.from, allow.until
            ));
        }
        Ok(times)
    }

    /// `now_ns`: nanoseconds since the Unix epoch.
    pub fn hold(&self, now_ns: u64) -> bool {
        let minute = (now_ns / MINUTE_NS + EPOCH_MINUTES) % u64::from(WEEK_MINUTES);
        let within = |window: &Window| {
            let since = (minute + u64::from(WEEK_MINUTES - window.start)) % u64::from(WEEK_MINUTES);
            since < u64::from(window.minutes)
        };
        (self.from_ns..self.until_ns).contains(&now_ns)
            && (self.weekly.is_empty() || self.weekly.iter().any(within))
    }
}

/// `None` for an empty text.
fn moment(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        // A date alone; a time of day without a zone is not taken for one.
        Err(_) => text
            .parse::<Date>()
            .ok()
            .filter(|_| !text.contains([':', 'T', 't', ' ']))
            .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
            .map(|zoned| zoned.timestamp())
            .ok_or_else(|| {
                format!(
                    "`{}` is not a date such as 2027-01-31 or a time such as 2027-01-31T22:00:00Z",
                    text.escape_debug()
                )
            })?,
    };
    Ok(Some(u64::try_from(timestamp.as_nanosecond()).unwrap_or(0)))
}

fn windows(texts: &[String]) -> Result<Vec<Window>, String> {
    let mut windows = Vec::new();
    for text in texts {
        let found = window(text).ok_or_else(|| {
            format!(
                "`{}` is not a window such as \"Sat 22:00-02:00\" or \"Mon-Fri 01:00-02:30\"",
                text.escape_debug()
            )
        })?;
        windows.extend(found);
    }
    Ok(windows)
}

/// One window for each of its days. An end that is not after the start is on the next day.
fn window(text: &str) -> Option<Vec<Window>> {
    let (days, hours) = text.split_once(' ')?;
    let (start, end) = hours.trim().split_once('-')?;
    let (start, end) = (minute(start)?, minute(end)?);
    let minutes = if end > start {
        end - start
    } else {
        end + DAY_MINUTES - start
    };
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7 + 1;
    let windows = (first..first + count).map(|day| Window {
        start: day % 7 * DAY_MINUTES + start,
        minutes,
    });
    Some(windows.collect())
}

/// Days after Monday.
fn day(text: &str) -> Option<u16> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let text = text.to_ascii_lowercase();
    names
        .into_iter()
        .zip(0_u16..)
        .find_map(|(name, day)| (name == text).then_some(day))
}

/// `HH:MM`, minutes after midnight; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && (hours < 24 || (hours, minutes) == (24, 0))).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(from: &str, until: &str, weekly: &[&str]) -> Allow {
        Allow {
            from: from.to_owned(),
            until: until.to_owned(),
            weekly: weekly.iter().map(|&text| text.to_owned()).collect(),
            ..Allow::default()
        }
    }

    fn holds(allow: &Allow, at: &str) -> bool {
        let at: Timestamp = at.parse().unwrap();
        Times::new(allow)
            .unwrap()
            .hold(u64::try_from(at.as_nanosecond()).unwrap())
    }

    #[test]
    fn days_and_times_are_from_their_start_on_and_until_it() {
        for (from, until, at, expected) in [
            ("", "", "1970-01-01T00:00:00Z", true),
            ("2026-12-01", "", "2026-11-30T23:59:59.999999999Z", false),
            ("2026-12-01", "", "2026-12-01T00:00:00Z", true),
            ("", "2026-12-01", "2026-11-30T23:59:59.999999999Z", true),
            ("", "2026-12-01", "2026-12-01T00:00:00Z", false),
            (
                "2026-12-01T22:00:00+01:00",
                "2026-12-02",
                "2026-12-01T20:59:59Z",
                false,
            ),
            (
                "2026-12-01T22:00:00+01:00",
                "2026-12-02",
                "2026-12-01T21:00:00Z",
                true,
            ),
        ] {
            assert_eq!(
                holds(&allow(from, until, &[]), at),
                expected,
                "{from} {until} {at}"
            );
        }
    }

    #[test]
    fn a_window_of_a_week_runs_over_midnight_and_over_the_end_of_the_week() {
        // 2026-11-28 is a Saturday.
        for (weekly, at, expected) in [
            ("Sat 22:00-04:00", "2026-11-28T21:59:59Z", false),
            ("Sat 22:00-04:00", "2026-11-28T22:00:00Z", true),
            ("Sat 22:00-04:00", "2026-11-29T03:59:59Z", true),
            ("Sat 22:00-04:00", "2026-11-29T04:00:00Z", false),
            ("Sat 22:00-04:00", "2026-11-29T22:30:00Z", false),
            ("sun 23:00-01:00", "2026-11-30T00:30:00Z", true),
            ("Mon-Fri 01:00-02:30", "2026-11-27T02:29:59Z", true),
            ("Mon-Fri 01:00-02:30", "2026-11-28T02:00:00Z", false),
            ("Sat-Mon 00:00-24:00", "2026-11-30T23:59:59Z", true),
            ("Sat-Mon 00:00-24:00", "2026-12-01T00:00:00Z", false),
            ("Sat-Mon 00:00-24:00", "2026-11-27T23:59:59Z", false),
            ("Tue 12:00-12:00", "2026-12-02T11:59:59Z", true),
        ] {
            assert_eq!(holds(&allow("", "", &[weekly]), at), expected, "{weekly} {at}");
        }
        let two = allow("2026-11-28", "", &["Fri 10:00-11:00", "Sat 10:00-11:00"]);
        assert!(holds(&two, "2026-11-28T10:30:00Z"));
        assert!(!holds(&two, "2026-11-27T10:30:00Z"), "before it begins");
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        for (from, until, weekly, expected) in [
            ("tomorrow", "", "", "from: `tomorrow` is not a date"),
            (
                "",
                "2026-12-01T22:00",
                "",
                "until: `2026-12-01T22:00` is not a date",
            ),
            (
                "2026-12-02",
                "2026-12-01",
                "",
                "from: `2026-12-02` is not before until",
            ),
            ("", "", "Sat", "weekly: `Sat` is not a window"),
            ("", "", "Sat 25:00-26:00", "is not a window"),
            ("", "", "Sat 24:01-25:00", "is not a window"),
            ("", "", "Sat 2:00-4:00", "is not a window"),
            ("", "", "Xyz 02:00-04:00", "is not a window"),
            ("", "", "Sat 02:00-04:60", "is not a window"),
        ] {
            let weekly: Vec<&str> = (!weekly.is_empty()).then_some(weekly).into_iter().collect();
            let error = Times::new(&allow(from, until, &weekly)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
