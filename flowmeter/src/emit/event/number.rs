//! Numbers, addresses and times as text, without the formatting machinery.

use std::{
    cell::Cell,
    io::{self, Write as _},
    net::IpAddr,
};

use super::{
    cursor::{Cursor, Piece},
    value::WAZUH_INTEGER_LIMIT,
    wording::OCTETS,
};

const SECOND_NS: u64 = 1_000_000_000;

/// Eight digits of a number below 10^8, the first in the lowest byte, as numbers from 0 to 9: divided in halves, all
/// halves at once.
const fn eight(value: u32) -> u64 {
    let quads = (value / 10_000) as u64 | ((value % 10_000) as u64) << 32;
    let hundreds = ((quads * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | ((quads - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

#[inline(always)]
pub(super) fn unsigned(value: u64, out: &mut Cursor<'_>) {
    match u32::try_from(value) {
        Ok(value @ ..100_000_000) => short(value, out),
        _ => out.piece(&long(value)),
    }
}

/// As [`super::value::Counter`] in the schema `wazuh4`.
#[inline(always)]
pub(super) fn wazuh4_counter(value: u64, out: &mut Cursor<'_>) {
    match u32::try_from(value) {
        Ok(value @ ..100_000_000) => short(value, out),
        _ => out.piece(&long_wazuh4_counter(value)),
    }
}

/// Below 10^8.
#[inline(always)]
fn short(value: u32, out: &mut Cursor<'_>) {
    if value < 10 {
        let [digit, ..] = value.to_le_bytes();
        out.cut([b'0' + digit], 1);
    } else {
        let digits = eight(value);
        let zeros = digits.trailing_zeros() / 8;
        let text = (digits | ZEROS) >> (zeros * 8);
        out.cut(text.to_le_bytes(), 8 - zeros as usize);
    }
}

#[cold]
#[inline(never)]
fn long(value: u64) -> Piece<20> {
    written(|out| write!(out, "{value}"))
}

#[cold]
#[inline(never)]
fn long_wazuh4_counter(value: u64) -> Piece<22> {
    written(|out| match value {
        ..WAZUH_INTEGER_LIMIT => write!(out, "{value}"),
        _ => write!(out, "\"{value}\""),
    })
}

/// What `write` writes.
fn written<const N: usize>(write: impl FnOnce(&mut &mut [u8]) -> io::Result<()>) -> Piece<N> {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    let result = write(&mut rest);
    debug_assert!(result.is_ok(), "longer than {N} bytes");
    let length = N - rest.len();
    Piece {
        bytes,
        length: u8::try_from(length).unwrap_or(0),
    }
}

/// 16 digits.
#[inline(always)]
pub(super) fn hexadecimal(value: u64, out: &mut Cursor<'_>) {
    let halves = [value >> 32, value & 0xffff_ffff].map(|half| eight_hexadecimal(half).to_le_bytes());
    out.cut(*halves.as_flattened().first_chunk::<16>().unwrap_or(&[0; 16]), 16);
}

/// Eight digits of a number of 32 bits, the first in the lowest byte.
const fn eight_hexadecimal(value: u64) -> u64 {
    let quads = value >> 16 | (value & 0xffff) << 32;
    let pairs = (quads >> 8 & 0x00ff_0000_00ff) | (quads & 0x00ff_0000_00ff) << 16;
    let digits = (pairs >> 4 & 0x000f_000f_000f_000f) | (pairs & 0x000f_000f_000f_000f) << 8;
    // 10 and more carry into the upper half of their byte.
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    digits + ZEROS + letters * (b'a' - b'0' - 10) as u64
}

/// In quotes. The same again is for [`Cursor::again`]; no address has more than [`ADDRESS`] bytes.
#[inline(always)]
pub(super) fn address(ip: IpAddr, out: &mut Cursor<'_>) {
    match ip {
        IpAddr::V4(ip) => {
            let octets = ip
                .octets()
                .map(|octet| OCTETS.get(usize::from(octet)).unwrap_or(&Piece::EMPTY));
            let [first, second, third, last] = octets;
            out.text("\"");
            out.piece(first);
            out.piece(second);
            out.piece(third);
            out.cut(last.bytes, usize::from(last.length) - 1);
            out.text("\"");
        }
        // RFC 5952 is not worth a second implementation.
        IpAddr::V6(ip) => out.piece::<ADDRESS>(&written(|out| write!(out, "\"{ip}\""))),
    }
}

/// The longest address, `"0000:0000:0000:0000:0000:ffff:255.255.255.255"`, which is written shorter.
pub(super) const ADDRESS: usize = 48;

/// A day's name. Nearly all times are of the same day, which an encoder keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    /// Since 1970-01-01.
    number: u64,
    /// `"2026-04-26T`
    name: [u8; 12],
}

impl Default for Day {
    fn default() -> Self {
        Self::new(0)
    }
}

/// A time as text: RFC 3339 in UTC, in quotes.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// `"2026-04-26T`
    day: [u8; 12],
    /// `11:45:20`
    clock: u64,
    nanoseconds: Nine,
}

impl Time {
    #[inline(always)]
    pub(super) fn new(ns: u64, day: &Cell<Day>) -> Self {
        let seconds = ns / SECOND_NS;
        let (number, second) = (seconds / 86_400, as_u32(seconds % 86_400));
        if day.get().number != number {
            day.set(Day::new(number));
        }
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        // The zeros between become colons.
        let clock = eight(hour * 1_000_000 + minute * 1000 + second) | ZEROS;
        Self {
            day: day.get().name,
            clock: clock + 0x0a00_000a_0000,
            nanoseconds: Nine::new(as_u32(ns % SECOND_NS)),
        }
    }

    #[inline(always)]
    pub(super) fn milliseconds(&self, out: &mut Cursor<'_>) {
        self.second(out);
        let [a, b, c, ..] = self.nanoseconds.eight.to_le_bytes();
        out.cut([b'.', a, b, c, b'Z', b'"'], 6);
    }

    #[inline(always)]
    pub(super) fn nanoseconds(&self, out: &mut Cursor<'_>) {
        self.second(out);
        out.text(".");
        out.cut(self.nanoseconds.eight.to_le_bytes(), 8);
        out.cut([self.nanoseconds.ninth, b'Z', b'"'], 3);
    }

    #[inline(always)]
    fn second(&self, out: &mut Cursor<'_>) {
        out.cut(self.day, 12);
        out.cut(self.clock.to_le_bytes(), 8);
    }
}

/// Nine digits, with leading zeros: eight of them, the first in the lowest byte, and the last.
#[derive(Clone, Copy)]
struct Nine {
    eight: u64,
    ninth: u8,
}

impl Nine {
    /// Below 10^9.
    #[inline(always)]
    const fn new(value: u32) -> Self {
        let [ninth, ..] = (value % 10).to_le_bytes();
        Self {
            eight: eight(value / 10) | ZEROS,
            ninth: b'0' + ninth,
        }
    }

    /// How many are left without the zeros at the end, 1 at least.
    #[inline(always)]
    const fn significant(self) -> usize {
        if self.ninth == b'0' {
            8 - (self.eight & !ZEROS | 1).leading_zeros() as usize / 8
        } else {
            9
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "remainders of less than 2^32")]
const fn as_u32(value: u64) -> u32 {
    value as u32
}

/// Two digits.
fn pair(value: u64) -> [u8; 2] {
    let [.., low] = value.to_be_bytes();
    let low = low % 100;
    [b'0' + low / 10, b'0' + low % 10]
}

impl Day {
    #[cold]
    fn new(number: u64) -> Self {
        let (year, month, day) = date(number);
        let ([century, decade], [y, z]) = (pair(year / 100), pair(year % 100));
        let ([m, n], [d, e]) = (pair(month), pair(day));
        Self {
            number,
            name: [b'"', century, decade, y, z, b'-', m, n, b'-', d, e, b'T'],
        }
    }
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

/// The time from `start_ns` to `at_ns` in seconds: the shortest decimal that is the same double, as JSON writers print
/// floats.
#[inline(always)]
pub(super) fn seconds(start_ns: u64, at_ns: u64, out: &mut Cursor<'_>) {
    // Up to 15 digits a decimal is its double's shortest one, less its trailing zeros. Small numbers have an
    // exponent, long ones may round.
    match at_ns.checked_sub(start_ns) {
        Some(0) => out.text("0.0"),
        Some(ns @ 10_000..1_000_000_000_000_000) => {
            unsigned(ns / SECOND_NS, out);
            let fraction = Nine::new(as_u32(ns % SECOND_NS));
            let digits = fraction.significant();
            out.text(".");
            out.cut(fraction.eight.to_le_bytes(), digits.min(8));
            out.cut([fraction.ninth], digits / 9);
        }
        _ => out.piece(&float(start_ns, at_ns)),
    }
}

#[cold]
#[inline(never)]
fn float(start_ns: u64, at_ns: u64) -> Piece<24> {
    let ns = i128::from(at_ns) - i128::from(start_ns);
    written(|out| serde_json::to_writer(out, &(ns as f64 / SECOND_NS as f64)).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use proptest::prelude::*;

    use super::{super::cursor::ROOM, *};

    fn written(write: impl FnOnce(&mut Cursor<'_>)) -> String {
        let mut room = [0; ROOM];
        let mut out = Cursor::new(&mut room);
        write(&mut out);
        let length = out.finish().unwrap();
        String::from_utf8(room[..length].to_vec()).unwrap()
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
            prop_assert_eq!(written(|out| Time::new(ns, &Cell::default()).milliseconds(out)), quoted(format!("{:.3}", time(ns))));
            prop_assert_eq!(written(|out| Time::new(ns, &Cell::default()).nanoseconds(out)), quoted(format!("{:.9}", time(ns))));
        }

        #[test]
        fn numbers_are_those_of_the_standard_library(value: u64, shift in 0..64_u32) {
            prop_assert_eq!(written(|out| unsigned(value >> shift, out)), (value >> shift).to_string());
        }

        #[test]
        fn times_of_several_days_keep_apart(times in prop::collection::vec(any::<u64>(), 1..5)) {
            let day = Cell::default();
            for ns in times.iter().flat_map(|&ns| [ns, ns / 2]) {
                prop_assert_eq!(written(|out| Time::new(ns, &day).nanoseconds(out)), quoted(format!("{:.9}", time(ns))));
            }
        }

        #[test]
        fn seconds_are_those_of_a_float_printer(ns: i64, shift in 0..60_u32) {
            for ns in [ns >> shift, (ns >> shift) / 1_000_000 * 1_000_000] {
                let float = serde_json::to_string(&(ns as f64 / 1e9)).unwrap();
                let (start, at) = if ns < 0 { (ns.unsigned_abs(), 0) } else { (1 << 62, (1 << 62) + ns.unsigned_abs()) };
                prop_assert_eq!(written(|out| seconds(start, at, out)), float);
            }
        }

        #[test]
        fn identifiers_and_addresses_are_those_of_the_standard_library(id: u64, v4: u32, v6: u128) {
            prop_assert_eq!(written(|out| hexadecimal(id, out)), format!("{id:016x}"));
            for ip in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                prop_assert_eq!(written(|out| address(ip, out)), quoted(ip));
            }
        }
    }

    #[test]
    fn every_day_until_2554_has_its_date() {
        for day in 0..u64::MAX / SECOND_NS / 86_400 {
            let ns = day * 86_400 * SECOND_NS;
            assert_eq!(
                written(|out| Time::new(ns, &Cell::default()).milliseconds(out)),
                quoted(format!("{:.3}", time(ns)))
            );
        }
    }
}
