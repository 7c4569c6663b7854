//! Addresses and whole numbers, as logs have them.

use std::net::{IpAddr, Ipv4Addr};

/// A decimal number; digits only, but for a fraction of nothing but zeros.
#[inline]
pub(super) fn whole(bytes: &[u8]) -> Option<u64> {
    let mut digits = bytes.iter();
    let mut number = u64::from(digit(*digits.next()?)?);
    for &byte in digits.by_ref() {
        if byte == b'.' {
            let zeros = digits.as_slice();
            return (!zeros.is_empty() && zeros.iter().all(|&byte| byte == b'0')).then_some(number);
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit(byte)?))?;
    }
    Some(number)
}

/// The same, within the range of a smaller type.
#[inline]
pub(super) fn small<T: TryFrom<u64>>(bytes: &[u8]) -> Option<T> {
    whole(bytes).and_then(|number| T::try_from(number).ok())
}

#[inline]
pub(super) const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        _ => None,
    }
}

/// An address as the flow key holds it, and whether it is IPv6.
#[inline]
pub(super) fn address(bytes: &[u8]) -> Option<([u8; 16], bool)> {
    if let Some(octets) = ipv4(bytes) {
        return Some((Ipv4Addr::from(octets).to_ipv6_mapped().octets(), false));
    }
    match std::str::from_utf8(bytes).ok()?.parse().ok()? {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some((address.octets(), true)),
    }
}

/// Four numbers without leading zeros, as in `Ipv4Addr::from_str`, in a third of its time.
#[inline]
fn ipv4(bytes: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            if *bytes.get(at)? != b'.' {
                return None;
            }
            at += 1;
        }
        let first = digit(*bytes.get(at)?)?;
        at += 1;
        let mut number = first;
        while let Some(next) = bytes.get(at).copied().and_then(digit) {
            if number == 0 {
                return None;
            }
            number = number.checked_mul(10)?.checked_add(next)?;
            at += 1;
        }
        *octet = number;
    }
    (at == bytes.len()).then_some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_read_as_the_standard_library_reads_them(
            text in prop_oneof![
                "[0-9.]{0,15}",
                "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
                "[0-9a-f:.]{0,30}",
                any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_string()),
                any::<[u8; 4]>().prop_map(|octets| IpAddr::from(octets).to_string()),
            ],
        ) {
            let expected = text.parse().ok().map(|ip| match ip {
                IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), false),
                IpAddr::V6(ip) => (ip.octets(), true),
            });
            prop_assert_eq!(address(text.as_bytes()), expected);
        }

        #[test]
        fn whole_numbers_are_read_to_the_last_digit(number in any::<u64>(), zeros in 0..3_usize) {
            prop_assert_eq!(whole(number.to_string().as_bytes()), Some(number));
            let fraction = format!("{number}.{}", "0".repeat(zeros));
            prop_assert_eq!(whole(fraction.as_bytes()), (zeros > 0).then_some(number));
        }
    }

    #[test]
    fn what_is_no_number_within_range_is_refused() {
        for text in [
            "",
            "-1",
            "+1",
            "1x",
            " 1",
            "1.5",
            ".0",
            "1e3",
            "18446744073709551616",
        ] {
            assert_eq!(whole(text.as_bytes()), None, "{text}");
        }
        assert_eq!(small::<u8>(b"255"), Some(255));
        assert_eq!(small::<u8>(b"256"), None);
    }
}
