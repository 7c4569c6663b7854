//! Numbers, addresses and times as text, without the formatting machinery.

use std::{io::Write as _, net::IpAddr};

const PAIRS: &[u8; 200] = b"\
    0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn unsigned(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Two digits.
fn pair(value: u64, out: &mut Vec<u8>) {
    let at = usize::try_from(value % 100 * 2).unwrap_or(0);
    out.extend_from_slice(PAIRS.get(at..at + 2).unwrap_or_default());
}

/// `digits` of them, with leading zeros.
fn padded(value: u64, digits: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + digits, b'0');
    let mut rest = value;
    for digit in out.get_mut(at..).unwrap_or_default().iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

/// 16 digits.
pub(super) fn hexadecimal(value: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibble = |shift: u32| usize::try_from(value >> shift & 15).unwrap_or(0);
    out.extend((0..16).rev().filter_map(|place| DIGITS.get(nibble(place * 4))));
}

pub(super) fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            unsigned(a.into(), out);
            for octet in [b, c, d] {
                out.push(b'.');
                unsigned(octet.into(), out);
            }
        }
        // RFC 5952 is not worth a second implementation. A vector takes all that is written.
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

/// RFC 3339 in UTC with milliseconds, in quotes.
pub(super) fn milliseconds(ns: u64, out: &mut Vec<u8>) {
    second(ns / SECOND_NS, out);
    padded(ns % SECOND_NS / 1_000_000, 3, out);
    out.extend_from_slice(b"Z\"");
}

/// RFC 3339 in UTC with nanoseconds, in quotes.
pub(super) fn nanoseconds(ns: u64, out: &mut Vec<u8>) {
    second(ns / SECOND_NS, out);
    padded(ns % SECOND_NS, 9, out);
    out.extend_from_slice(b"Z\"");
}

/// `"2026-04-26T11:45:20.`
fn second(since_epoch: u64, out: &mut Vec<u8>) {
    let (year, month, day) = date(since_epoch / 86_400);
    let clock = since_epoch % 86_400;
    out.push(b'"');
    pair(year / 100, out);
    pair(year, out);
    out.push(b'-');
    pair(month, out);
    out.push(b'-');
    pair(day, out);
    out.push(b'T');
    pair(clock / 3600, out);
    out.push(b':');
    pair(clock / 60 % 60, out);
    out.push(b':');
    pair(clock % 60, out);
    out.push(b'.');
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01: the `civil_from_days` of
/// Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms", for days that are not negative.
const fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 on, so that the leap day is a year's last.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + (month <= 2) as u64;
    (year, month, day)
}

/// Nanoseconds as seconds: the shortest decimal that is the same double, as JSON writers print floats.
pub(super) fn seconds(ns: i128, out: &mut Vec<u8>) {
    // Up to 15 digits a decimal is its double's shortest one, less its trailing zeros. Small numbers have an
    // exponent, long ones may round.
    match u64::try_from(ns) {
        Ok(ns @ (0 | 10_000..1_000_000_000_000_000)) => {
            unsigned(ns / SECOND_NS, out);
            out.push(b'.');
            let (mut fraction, mut digits) = (ns % SECOND_NS, 9);
            while digits > 1 && fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            padded(fraction, digits, out);
        }
        _ => {
            let _ = serde_json::to_writer(out, &(ns as f64 / SECOND_NS as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn time(ns: u64) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(ns.into()).unwrap()
    }

    fn quoted(text: impl Display) -> String {
        format!("\"{text}\"")
    }

    proptest! {
        #[test]
        fn times_are_those_of_a_calendar_library(ns: u64) {
            prop_assert_eq!(written(|out| milliseconds(ns, out)), quoted(format!("{:.3}", time(ns))));
            prop_assert_eq!(written(|out| nanoseconds(ns, out)), quoted(format!("{:.9}", time(ns))));
        }

        #[test]
        fn seconds_are_those_of_a_float_printer(ns: i64, shift in 0..60_u32) {
            for ns in [ns >> shift, (ns >> shift) / 1_000_000 * 1_000_000] {
                let float = serde_json::to_string(&(ns as f64 / 1e9)).unwrap();
                prop_assert_eq!(written(|out| seconds(ns.into(), out)), float);
            }
        }

        #[test]
        fn identifiers_and_addresses_are_those_of_the_standard_library(id: u64, v4: u32, v6: u128) {
            prop_assert_eq!(written(|out| hexadecimal(id, out)), format!("{id:016x}"));
            for ip in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                prop_assert_eq!(written(|out| address(ip, out)), ip.to_string());
            }
        }
    }

    #[test]
    fn every_day_until_2554_has_its_date() {
        for day in 0..u64::MAX / SECOND_NS / 86_400 {
            let ns = day * 86_400 * SECOND_NS;
            assert_eq!(
                written(|out| milliseconds(ns, out)),
                quoted(format!("{:.3}", time(ns)))
            );
        }
    }
}
