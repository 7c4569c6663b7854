//! How values are written: durations as `10s`, networks as `10.0.0.0/8`, whole numbers; for files and flags alike.

use std::{fmt, marker::PhantomData, net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// Reads `10s`, `500ms`, `1h 30m`.
///
/// # Errors
/// A message that shows the text and how a duration is written.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration such as 500ms, 10s, 5m or 1h: {error}"))
}

/// Reads CIDR notation; an address alone is a network of one.
///
/// Host bits are kept: whoever takes them off tells about it.
///
/// # Errors
/// A message that shows the text and how a network is written.
pub fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is not a network in CIDR notation, such as 10.0.0.0/8 or fc00::/7"))
}

/// For `#[serde(with = ...)]`: a duration as text.
pub(super) mod durations {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use super::{Text, duration};

    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(Text {
            read: duration,
            expected: "a duration in quotes, such as \"500ms\", \"10s\", \"5m\" or \"1h\"",
        })
    }
}

/// Text read by one of the functions above. As a visitor, so that an error points at this value and not at the
/// list around it.
struct Text<T> {
    read: fn(&str) -> Result<T, String>,
    expected: &'static str,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }
}

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text {
            read: network,
            expected: "a network in quotes, such as \"10.0.0.0/8\"",
        };
        deserializer.deserialize_str(text).map(Network)
    }
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<Network>::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

/// Any unsigned type, with messages that say "a whole number" instead of "u32".
pub(super) fn whole_number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    deserializer.deserialize_u64(WholeNumber(PhantomData))
}

struct WholeNumber<T>(PhantomData<T>);

impl<T: TryFrom<u64>> de::Visitor<'_> for WholeNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, not negative")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::custom(format!("{value} is too large")))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
        }
    }
}

/// An error's message in the words of the file, not of the program.
pub(super) fn plain(error: &toml::de::Error) -> String {
    error
        .message()
        .trim_end()
        .replace("expected a sequence", "expected a list in brackets")
        .replace("unknown variant", "unknown value")
}
