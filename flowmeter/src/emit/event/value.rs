//! How single values are written: numbers, times, flags, names of protocols.

use flowmeter_common::flow::tcp_flags;
use serde::{Serialize, Serializer};

use crate::{config::Schema, enrich::protocol};

/// Wazuh 4's own decoder turns integers from here on into floats (`"5368709120.000000"`).
pub(super) const WAZUH_INTEGER_LIMIT: u64 = 1 << 31;

const NS_PER_SECOND: f64 = 1e9;

/// A count. In the `wazuh4` schema one of 2^31 and more is a JSON string, so that no digit is lost on the
/// way; everything else is a JSON number.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    Number(u64),
    Text(u64),
}

impl Counter {
    pub(super) const fn new(value: u64, schema: Schema) -> Self {
        match schema {
            Schema::Wazuh4 if value >= WAZUH_INTEGER_LIMIT => Self::Text(value),
            _ => Self::Number(value),
        }
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) => serializer.serialize_u64(*value),
            Self::Text(value) => serializer.collect_str(value),
        }
    }
}

/// RFC 3339 in UTC with milliseconds, cut off: what an index sorts by.
#[derive(Clone, Copy)]
pub(super) struct Milliseconds(pub(super) u64);

/// RFC 3339 in UTC with nanoseconds: what a replay reads back without loss.
#[derive(Clone, Copy)]
pub(super) struct Nanoseconds(pub(super) u64);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", timestamp(self.0)))
    }
}

impl Serialize for Nanoseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.9}", timestamp(self.0)))
    }
}

/// A `u64` of nanoseconds ends in the year 2554, far inside what a timestamp can hold.
fn timestamp(ns: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default()
}

/// Seconds from the start of the connection, as a float. Exact to the nanosecond within 26 days.
#[derive(Clone, Copy)]
pub(super) struct Offset {
    ns: i128,
}

impl Offset {
    pub(super) const fn new(start_ns: u64, at_ns: u64) -> Self {
        Self {
            ns: at_ns as i128 - start_ns as i128,
        }
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.ns as f64 / NS_PER_SECOND)
    }
}

/// A length of time in seconds, as a float.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) u64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / NS_PER_SECOND)
    }
}

/// `event.duration`: seconds as a float in the article's shape, whole nanoseconds in ECS.
#[derive(Clone, Copy)]
pub(super) enum Duration {
    Seconds(u64),
    Nanoseconds(u64),
}

impl Duration {
    pub(super) const fn new(ns: u64, schema: Schema) -> Self {
        match schema {
            Schema::Wazuh4 => Self::Seconds(ns),
            Schema::Ecs => Self::Nanoseconds(ns),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Seconds(ns) => serializer.serialize_f64(*ns as f64 / NS_PER_SECOND),
            Self::Nanoseconds(ns) => serializer.serialize_u64(*ns),
        }
    }
}

/// TCP flags by name, joined by commas in the order of their bits; `NONE` for a segment without any.
#[derive(Clone, Copy)]
pub(super) struct TcpFlags(pub(super) u8);

impl std::fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("NONE");
        }
        let mut separator = "";
        for (_, name) in tcp_flags::NAMES.iter().filter(|(bit, _)| self.0 & bit != 0) {
            f.write_str(separator)?;
            f.write_str(name)?;
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A 64-bit identifier as 16 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct Id(pub(super) u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// An IP protocol as people write it, or its number as text.
#[derive(Clone, Copy)]
pub(super) struct ProtocolName(pub(super) u8);

/// The same as ECS `network.transport` wants it.
#[derive(Clone, Copy)]
pub(super) struct Transport(pub(super) u8);

impl Serialize for ProtocolName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match protocol::name(self.0) {
            Some(name) => serializer.serialize_str(name.display),
            None => serializer.collect_str(&self.0),
        }
    }
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match protocol::name(self.0) {
            Some(name) => serializer.serialize_str(name.keyword),
            None => serializer.collect_str(&self.0),
        }
    }
}

/// One text in the article's shape, a list in ECS.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Words {
    One(&'static str),
    Many(&'static [&'static str]),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn wazuh_gets_large_integers_as_text() {
        let limit = 1 << 31;
        for (value, schema, text) in [
            (limit - 1, Schema::Wazuh4, "2147483647"),
            (limit, Schema::Wazuh4, "\"2147483648\""),
            (u64::MAX, Schema::Wazuh4, "\"18446744073709551615\""),
            (u64::MAX, Schema::Ecs, "18446744073709551615"),
        ] {
            assert_eq!(json(Counter::new(value, schema)), text);
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let ns = 1_777_203_920_123_456_789;
        assert_eq!(json(Milliseconds(ns)), "\"2026-04-26T11:45:20.123Z\"");
        assert_eq!(json(Nanoseconds(ns)), "\"2026-04-26T11:45:20.123456789Z\"");
        assert_eq!(json(Nanoseconds(0)), "\"1970-01-01T00:00:00.000000000Z\"");
        assert_eq!(json(Milliseconds(u64::MAX)), "\"2554-07-21T23:34:33.709Z\"");
    }

    #[test]
    fn durations_are_seconds_for_the_article_and_nanoseconds_for_ecs() {
        assert_eq!(json(Duration::new(45_000_000_000, Schema::Wazuh4)), "45.0");
        assert_eq!(json(Duration::new(45_000_000_001, Schema::Ecs)), "45000000001");
        assert_eq!(json(Offset::new(5, 5)), "0.0");
        assert_eq!(json(Offset::new(1_000_000_000, 0)), "-1.0");
    }

    #[test]
    fn an_offset_is_exact_over_the_longest_connection_record() {
        let week = 7 * 24 * 3600 * 1_000_000_000_u64;
        for ns in (0..1000).flat_map(|i| [i, week - i, week / 7 * 3 + i * 1_000_003]) {
            let seconds: f64 = json(Offset::new(77, 77 + ns)).parse().unwrap();
            assert_eq!(format!("{:.0}", seconds * 1e9), ns.to_string());
        }
    }

    #[test]
    fn flags_are_named_in_the_order_of_their_bits() {
        assert_eq!(json(TcpFlags(0x02)), "\"SYN\"");
        assert_eq!(json(TcpFlags(0x12)), "\"SYN,ACK\"");
        assert_eq!(json(TcpFlags(0xff)), "\"FIN,SYN,RST,PSH,ACK,URG,ECE,CWR\"");
        assert_eq!(json(TcpFlags(0)), "\"NONE\"");
    }

    #[test]
    fn protocols_have_a_name_or_their_number() {
        assert_eq!(
            (json(ProtocolName(6)), json(Transport(6))),
            ("\"TCP\"".into(), "\"tcp\"".into())
        );
        assert_eq!(json(Transport(58)), "\"ipv6-icmp\"");
        assert_eq!(
            (json(ProtocolName(253)), json(Transport(253))),
            ("\"253\"".into(), "\"253\"".into())
        );
        assert_eq!(json(Id(0xab)), "\"00000000000000ab\"");
    }
}
