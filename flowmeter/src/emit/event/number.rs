//! Numbers, addresses and times as text, without the formatting machinery.

use std::{io::Write as _, net::IpAddr};

const SECOND_NS: u64 = 1_000_000_000;

/// Appends the first `length` of `bytes`. All are copied, then cut: a copy of constant size is a few moves where one
/// of another size is a call.
#[inline(always)]
fn piece<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Eight digits of a number below 10^8, the first in the lowest byte, as numbers from 0 to 9: divided in halves, all
/// halves at once.
const fn eight(value: u64) -> u64 {
    let quads = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((quads * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | ((quads - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

#[inline]
pub(super) fn unsigned(value: u64, out: &mut Vec<u8>) {
    if let Ok(digit @ ..10) = u8::try_from(value) {
        out.push(b'0' + digit);
    } else if value < 100_000_000 {
        let digits = eight(value);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        let text = (digits | ZEROS) >> (zeros * 8);
        piece(&text.to_le_bytes(), 8 - zeros as usize, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Two digits.
const fn pair(value: u64) -> [u8; 2] {
    let [.., low] = value.to_be_bytes();
    let low = low % 100;
    [b'0' + low / 10, b'0' + low % 10]
}

/// Nine digits, with leading zeros.
fn nine(value: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = (eight(value / 10 % 100_000_000) | ZEROS).to_le_bytes();
    let [_, i] = pair(value % 10);
    [a, b, c, d, e, f, g, h, i]
}

/// 16 digits.
pub(super) fn hexadecimal(value: u64, out: &mut Vec<u8>) {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' - 10 + nibble
        }
    };
    let mut digits = [0; 16];
    for ([high, low], byte) in digits.as_chunks_mut().0.iter_mut().zip(value.to_be_bytes()) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
    }
    out.extend_from_slice(&digits);
}

/// Every octet with a dot behind it, and how many bytes that is.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated when compiled; 256 places for the values of a byte"
)]
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut value: u8 = 0;
    loop {
        let [a, b, c] = [b'0' + value / 100, b'0' + value / 10 % 10, b'0' + value % 10];
        octets[value as usize] = match value {
            0..10 => ([c, b'.', 0, 0], 2),
            10..100 => ([b, c, b'.', 0], 3),
            100.. => ([a, b, c, b'.'], 4),
        };
        if value == u8::MAX {
            break octets;
        }
        value += 1;
    }
};

pub(super) fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for octet in ip.octets() {
                if let Some((text, length)) = OCTETS.get(usize::from(octet)) {
                    piece(text, usize::from(*length), out);
                }
            }
            out.pop();
        }
        // RFC 5952 is not worth a second implementation. A vector takes all that is written.
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

/// Writes times of one line. Nearly all are of the same day, whose name is made once.
#[derive(Default)]
pub(super) struct Times {
    day: Option<u64>,
    /// `"2026-04-26T`
    name: [u8; 12],
}

impl Times {
    /// RFC 3339 in UTC with milliseconds, in quotes.
    pub(super) fn milliseconds(&mut self, ns: u64, out: &mut Vec<u8>) {
        self.second(ns / SECOND_NS, out);
        let [a, b, c, ..] = nine(ns % SECOND_NS);
        out.extend_from_slice(&[a, b, c, b'Z', b'"']);
    }

    /// RFC 3339 in UTC with nanoseconds, in quotes.
    pub(super) fn nanoseconds(&mut self, ns: u64, out: &mut Vec<u8>) {
        self.second(ns / SECOND_NS, out);
        let [a, b, c, d, e, f, g, h, i] = nine(ns % SECOND_NS);
        out.extend_from_slice(&[a, b, c, d, e, f, g, h, i, b'Z', b'"']);
    }

    /// `"2026-04-26T11:45:20.`
    fn second(&mut self, since_epoch: u64, out: &mut Vec<u8>) {
        let day = since_epoch / 86_400;
        if self.day != Some(day) {
            self.day = Some(day);
            self.name = day_name(day);
        }
        let clock = since_epoch % 86_400;
        let ([h, i], [j, k], [s, t]) = (pair(clock / 3600), pair(clock / 60 % 60), pair(clock % 60));
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&[h, i, b':', j, k, b':', s, t, b'.']);
    }
}

fn day_name(day: u64) -> [u8; 12] {
    let (year, month, day) = date(day);
    let ([century, decade], [y, z]) = (pair(year / 100), pair(year % 100));
    let ([m, n], [d, e]) = (pair(month), pair(day));
    [b'"', century, decade, y, z, b'-', m, n, b'-', d, e, b'T']
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
        Ok(0) => out.extend_from_slice(b"0.0"),
        Ok(ns @ 10_000..1_000_000_000_000_000) => {
            unsigned(ns / SECOND_NS, out);
            out.push(b'.');
            let fraction = nine(ns % SECOND_NS);
            let digits = fraction
                .iter()
                .rposition(|&digit| digit != b'0')
                .map_or(1, |last| last + 1);
            piece(&fraction, digits, out);
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

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
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
            prop_assert_eq!(written(|out| Times::default().milliseconds(ns, out)), quoted(format!("{:.3}", time(ns))));
            prop_assert_eq!(written(|out| Times::default().nanoseconds(ns, out)), quoted(format!("{:.9}", time(ns))));
        }

        #[test]
        fn numbers_are_those_of_the_standard_library(value: u64, shift in 0..64_u32) {
            prop_assert_eq!(written(|out| unsigned(value >> shift, out)), (value >> shift).to_string());
        }

        #[test]
        fn times_of_several_days_in_one_line_keep_apart(times in prop::collection::vec(any::<u64>(), 1..5)) {
            let mut line = Times::default();
            for ns in times.iter().flat_map(|&ns| [ns, ns / 2]) {
                prop_assert_eq!(written(|out| line.nanoseconds(ns, out)), quoted(format!("{:.9}", time(ns))));
            }
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
                written(|out| Times::default().milliseconds(ns, out)),
                quoted(format!("{:.3}", time(ns)))
            );
        }
    }
}
