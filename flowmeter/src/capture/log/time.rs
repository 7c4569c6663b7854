//! Times as logs write them, to nanoseconds since the Unix epoch.

use jiff::{civil::DateTime, tz::TimeZone};

use super::number::{digit, small};

const SECOND: u64 = 1_000_000_000;

/// Seconds and a fraction, to the nanosecond that is written; what is finer is cut off.
///
/// None for what is no number, negative or after the year 2554.
#[inline]
pub(super) fn seconds(bytes: &[u8]) -> Option<u64> {
    let mut digits = bytes.iter();
    let mut whole = u64::from(digit(*digits.next()?)?);
    for &byte in digits.by_ref() {
        match byte {
            b'.' => {
                let fraction = digits.as_slice();
                return match nanoseconds(fraction)? {
                    (_, length) if length < fraction.len() => float(bytes),
                    (_, 0) => None,
                    (ns, _) => whole.checked_mul(SECOND)?.checked_add(ns),
                };
            }
            b'e' | b'E' => return float(bytes),
            _ => whole = whole.checked_mul(10)?.checked_add(u64::from(digit(byte)?))?,
        }
    }
    whole.checked_mul(SECOND)
}

/// The digits at the start as a fraction of a second, and how many there are.
#[inline]
fn nanoseconds(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut ns = 0;
    let mut unit = SECOND / 10;
    let mut length = 0;
    for value in bytes.iter().map_while(|&byte| digit(byte)) {
        ns += u64::from(value) * unit;
        unit /= 10;
        length += 1;
    }
    Some((ns, length))
}

/// With an exponent, as JSON writers put very short durations.
#[cold]
fn float(bytes: &[u8]) -> Option<u64> {
    let seconds: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    let ns = seconds * SECOND as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range that is checked here"
    )]
    (0.0..u64::MAX as f64).contains(&ns).then_some(ns as u64)
}

/// Reads dates with the time of day. Remembers the minute that it was in: lines that follow each other share it.
pub(super) struct Calendar {
    /// Of times that do not say theirs.
    zone: TimeZone,
    zone_used: bool,
    /// `2026-04-26 11:45`.
    minute: [u8; 16],
    /// When that minute starts in UTC, in seconds, and in `zone`.
    utc_seconds: i64,
    local_seconds: i64,
}

impl Calendar {
    pub(super) const fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            zone_used: false,
            minute: [0; 16],
            utc_seconds: 0,
            local_seconds: 0,
        }
    }

    pub(super) const fn utc() -> Self {
        Self::new(TimeZone::UTC)
    }

    /// The zone, if times were read that do not say theirs.
    pub(super) fn zone_used(&self) -> Option<&TimeZone> {
        self.zone_used.then_some(&self.zone)
    }

    /// `2026-04-26 11:45:20.123456`, with a space or a `T`, any fraction or none, and `Z`, `+02:00`, `+0200` or
    /// no zone at all.
    ///
    /// None for anything else, and for what is before 1970 or after 2554.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<u64> {
        let (minute, rest) = bytes.split_first_chunk()?;
        if *minute != self.minute {
            self.turn_to(minute)?;
        }
        let &[b':', tens, ones, ref rest @ ..] = rest else {
            return None;
        };
        // 60 is a leap second.
        let second = digit(tens)? * 10 + digit(ones)?;
        if second > 60 {
            return None;
        }
        let (ns, rest) = match rest {
            [b'.' | b',', fraction @ ..] => match nanoseconds(fraction)? {
                (_, 0) => return None,
                (ns, length) => (ns, fraction.get(length..)?),
            },
            _ => (0, rest),
        };
        let minute_seconds = match rest {
            b"" => {
                self.zone_used = true;
                self.local_seconds
            }
            b"Z" => self.utc_seconds,
            _ => self.utc_seconds.checked_sub(offset_seconds(rest)?)?,
        };
        let seconds = minute_seconds.checked_add(i64::from(second))?;
        u64::try_from(seconds).ok()?.checked_mul(SECOND)?.checked_add(ns)
    }

    #[cold]
    fn turn_to(&mut self, minute: &[u8; 16]) -> Option<()> {
        let [
            y0,
            y1,
            y2,
            y3,
            b'-',
            m0,
            m1,
            b'-',
            d0,
            d1,
            b' ' | b'T',
            h0,
            h1,
            b':',
            n0,
            n1,
        ] = *minute
        else {
            return None;
        };
        let time = DateTime::new(
            small::<i16>(&[y0, y1, y2, y3])?,
            small::<i8>(&[m0, m1])?,
            small::<i8>(&[d0, d1])?,
            small::<i8>(&[h0, h1])?,
            small::<i8>(&[n0, n1])?,
            0,
            0,
        )
        .ok()?;
        let seconds = |zone: &TimeZone| Some(zone.to_timestamp(time).ok()?.as_second());
        self.utc_seconds = seconds(&TimeZone::UTC)?;
        self.local_seconds = seconds(&self.zone)?;
        self.minute = *minute;
        Some(())
    }
}

/// `+02:00` or `+0200`.
fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = bytes.split_first()?;
    let (hours, minutes) = match *rest {
        [h0, h1, b':', m0, m1] | [h0, h1, m0, m1] => (small::<i64>(&[h0, h1])?, small::<i64>(&[m0, m1])?),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn utc() -> Calendar {
        Calendar::utc()
    }

    proptest! {
        #[test]
        fn a_time_is_the_same_in_every_way_to_write_it(ns in any::<u64>(), digits in 0..10_usize, minutes in -720..840_i64) {
            let unit = 10_u64.pow(9 - u32::try_from(digits).unwrap());
            let ns = ns / unit * unit;
            let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            let shown = format!("{time:.digits$}");
            let mut calendar = utc();
            prop_assert_eq!(calendar.read(shown.as_bytes()), Some(ns), "{}", shown);
            let spaced = shown.replace('T', " ").replace('Z', "");
            prop_assert_eq!(calendar.read(spaced.as_bytes()), Some(ns), "{}", spaced);
            let point = if digits > 0 { "." } else { "" };
            let fraction = format!("{:09}", ns % SECOND);
            let decimal = format!("{}{point}{}", ns / SECOND, &fraction[..digits]);
            prop_assert_eq!(seconds(decimal.as_bytes()), Some(ns), "{}", decimal);

            let sign = if minutes < 0 { '-' } else { '+' };
            let away = Timestamp::from_nanosecond(i128::from(ns) + i128::from(minutes) * 60_000_000_000).unwrap();
            let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
            for colon in [":", ""] {
                let shown = format!("{away:.digits$}").replace('Z', &format!("{sign}{hours:02}{colon}{rest:02}"));
                prop_assert_eq!(calendar.read(shown.as_bytes()), Some(ns), "{}", shown);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            "[0-9:TZ.+ -]{16,30}".prop_map(String::into_bytes),
            "[0-9.eE+-]{0,30}".prop_map(String::into_bytes),
        ]) {
            let mut calendar = utc();
            prop_assert_eq!(calendar.read(&bytes), calendar.read(&bytes));
            prop_assert_eq!(seconds(&bytes), seconds(&bytes));
        }
    }

    #[test]
    fn seconds_of_every_writer() {
        for (text, ns) in [
            ("0", Some(0)),
            ("1677577561.000000", Some(1_677_577_561_000_000_000)),
            ("928.943457", Some(928_943_457_000)),
            ("0.0018720000000023163", Some(1_872_000)),
            ("9.5367431640625e-07", Some(953)),
            ("1e-06", Some(1_000)),
            ("18446744073.709551615", Some(u64::MAX)),
            ("18446744073.709551616", None),
            ("18446744074", None),
            ("99999999999999999999", None),
            ("1e30", None),
            ("-1.5", None),
            ("1.", None),
            (".5", None),
            ("1.5x", None),
            ("", None),
            ("nan", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), ns, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let mut calendar = utc();
        for text in [
            "",
            "2026-04-26",
            "2026-04-26 11:45",
            "2026-04-26 11:45:2",
            "2026-13-26 11:45:20",
            "2026-02-29 11:45:20",
            "2026-04-26 24:45:20",
            "2026-04-26 11:45:61",
            "2026-04-26 11:45:20.",
            "2026-04-26 11:45:20x",
            "2026-04-26 11:45:20+2:00",
            "2026/04/26 11:45:20",
            "1969-12-31 23:59:59",
            "2600-01-01 00:00:00",
        ] {
            assert_eq!(calendar.read(text.as_bytes()), None, "{text}");
        }
        // After a date that was refused none is remembered that it could be taken for.
        assert!(calendar.read(b"2026-04-26 11:45:20").is_some());
    }

    #[test]
    fn a_time_without_a_zone_is_local_and_it_is_known_that_there_was_one() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut calendar = Calendar::new(zone);
        let utc_ns = |text: &str| utc().read(text.as_bytes());
        assert_eq!(
            calendar.read(b"2026-04-26 11:45:20Z"),
            utc_ns("2026-04-26 11:45:20")
        );
        assert!(calendar.zone_used().is_none());
        assert_eq!(
            calendar.read(b"2026-04-26 11:45:20"),
            utc_ns("2026-04-26 09:45:20")
        );
        assert_eq!(
            calendar.read(b"2026-01-26 11:45:20.5"),
            utc_ns("2026-01-26 10:45:20.5")
        );
        assert!(calendar.zone_used().is_some());
    }
}
