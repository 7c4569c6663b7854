//! An interface of a capture: its link type, and how its time stamps count.

/// What a capture says of an interface whose frames it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its place in its section of the file, from 0 on.
    pub number: usize,
    /// As in https://www.tcpdump.org/linktypes.html.
    pub link_type: u16,
    /// pcapng's `if_name`.
    pub name: Option<String>,
    /// Captured bytes of a frame at most, 0 for no limit.
    pub(super) snap_length: u32,
    /// `None` where no time can be told by it.
    pub(super) clock: Option<Clock>,
}

/// From time stamps to nanoseconds since the Unix epoch: `stamp * multiply / divide + offset_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    multiply: u64,
    divide: u128,
    offset_ns: i128,
}

const NANOSECONDS: u64 = 1_000_000_000;

impl Clock {
    pub(super) const MICROSECONDS: Self = Self {
        multiply: 1_000,
        divide: 1,
        offset_ns: 0,
    };

    pub(super) const fn per_second(units: u128) -> Self {
        match units {
            1_000_000 => Self::MICROSECONDS,
            1_000_000_000 => Self {
                multiply: 1,
                divide: 1,
                offset_ns: 0,
            },
            _ => Self {
                multiply: NANOSECONDS,
                divide: units,
                offset_ns: 0,
            },
        }
    }

    /// pcapng's `if_tsresol` (the first bit tells powers of 2 from powers of 10) and `if_tsoffset`; `None`
    /// for a resolution that no 64-bit stamp of this age can have.
    pub(super) fn new(resolution: u8, offset_seconds: i64) -> Option<Self> {
        let exponent = u32::from(resolution & 0x7f);
        let units = if resolution & 0x80 == 0 {
            10_u128.checked_pow(exponent)?
        } else {
            1_u128.checked_shl(exponent)?
        };
        let offset_ns = i128::from(offset_seconds) * i128::from(NANOSECONDS);
        Some(Self {
            offset_ns,
            ..Self::per_second(units)
        })
    }

    /// `None` where the time is before 1970 or after 2262.
    pub(super) fn stamp(self, stamp: u64) -> Option<u64> {
        if self.divide == 1 && self.offset_ns == 0 {
            return stamp.checked_mul(self.multiply).filter(|&time| time <= LAST);
        }
        let time = u128::from(stamp) * u128::from(self.multiply) / self.divide;
        let time = i128::try_from(time).ok()?.checked_add(self.offset_ns)?;
        u64::try_from(time).ok().filter(|&time| time <= LAST)
    }

    pub(super) fn seconds_and_fraction(self, seconds: u32, fraction: u32) -> u64 {
        // 2^32 seconds and as many units are far from 2^63 ns.
        u64::from(seconds) * NANOSECONDS + u64::from(fraction) * self.multiply
    }
}

/// The end of what a signed 64-bit count of nanoseconds can tell.
const LAST: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_of_ten_and_of_two() {
        let time = |resolution, offset, stamp| Clock::new(resolution, offset)?.stamp(stamp);
        assert_eq!(time(6, 0, 1_700_000_000_123_456), Some(1_700_000_000_123_456_000));
        assert_eq!(
            time(9, 0, 1_700_000_000_123_456_789),
            Some(1_700_000_000_123_456_789)
        );
        assert_eq!(time(3, 0, 1_700_000_000_123), Some(1_700_000_000_123_000_000));
        assert_eq!(time(0, 0, 1_700_000_000), Some(1_700_000_000_000_000_000));
        assert_eq!(time(12, 0, 5_000_000), Some(5_000));
        assert_eq!(time(0x80 | 10, 0, 1536), Some(1_500_000_000));
        assert_eq!(time(6, -1, 2_000_000), Some(1_000_000_000));
        assert_eq!(time(6, 1_700_000_000, 7), Some(1_700_000_000_000_007_000));
    }

    #[test]
    fn times_that_cannot_be_told_are_none() {
        assert_eq!(Clock::new(39, 0), None);
        assert_eq!(Clock::new(6, -1).unwrap().stamp(1), None);
        assert_eq!(Clock::MICROSECONDS.stamp(u64::MAX), None);
        assert_eq!(Clock::new(0, i64::MAX).unwrap().stamp(u64::MAX), None);
        assert_eq!(Clock::new(0xff, 0).unwrap().stamp(u64::MAX), Some(0));
    }
}
