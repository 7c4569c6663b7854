//! What a value is compared with in a rule.
//!
//! Three of Wazuh's kinds: `pcre2` (the only one that `<field>` may use here), `osmatch` (the default of `<match>`
//! and of ports and protocol) and addresses. Its own `osregex` is left out: in it `.` is a dot and `\.` anything,
//! and no rule of this pack uses it.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

#[derive(Clone, Debug)]
pub enum Pattern {
    Pcre2(Regex),
    Osmatch(Osmatch),
    /// An address or a network.
    Network(IpNet),
}

/// Alternatives of plain text, in any case, each perhaps tied to an end.
#[derive(Clone, Debug)]
pub struct Osmatch(Vec<Alternative>);

#[derive(Clone, Debug)]
struct Alternative {
    text: String,
    start: bool,
    end: bool,
}

impl Pattern {
    /// # Errors
    /// Why it does not compile.
    pub fn pcre2(text: &str) -> Result<Self, String> {
        // `Regex` is linear in time; what it leaves out of PCRE (look-around, back-references) is an error here.
        Regex::new(text).map(Self::Pcre2).map_err(|error| {
            let last = error.to_string().lines().last().unwrap_or_default().to_owned();
            last.trim_start_matches("error: ").to_owned()
        })
    }

    pub fn osmatch(text: &str) -> Self {
        let alternative = |text: &str| {
            let start = text.strip_prefix('^');
            let rest = start.unwrap_or(text);
            let end = rest.strip_suffix('$');
            Alternative {
                text: end.unwrap_or(rest).to_ascii_lowercase(),
                start: start.is_some(),
                end: end.is_some(),
            }
        };
        Self::Osmatch(Osmatch(text.split('|').map(alternative).collect()))
    }

    /// # Errors
    /// If it is neither an address nor a network.
    pub fn network(text: &str) -> Result<Self, String> {
        let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse()
            .ok()
            .or_else(|| address(text))
            .map(Self::Network)
            .ok_or_else(|| format!("`{text}` is neither an address nor a network"))
    }

    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Pcre2(regex) => regex.is_match(value),
            Self::Osmatch(matcher) => matcher.matches(value),
            Self::Network(network) => value
                .parse::<IpAddr>()
                .is_ok_and(|address| network.contains(&address)),
        }
    }
}

impl Osmatch {
    fn matches(&self, value: &str) -> bool {
        let value = value.to_ascii_lowercase();
        self.0
            .iter()
            .any(|alternative| match (alternative.start, alternative.end) {
                (true, true) => value == alternative.text,
                (true, false) => value.starts_with(&alternative.text),
                (false, true) => value.ends_with(&alternative.text),
                (false, false) => value.contains(&alternative.text),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn osmatch_is_plain_text_with_ends_and_alternatives() {
        for (pattern, value, matches) in [
            ("22", "2222", true),
            ("^22$", "2222", false),
            ("^22$|^445$", "445", true),
            ("^tcp", "TCP", true),
            (".", "a", false),
        ] {
            assert_eq!(
                Pattern::osmatch(pattern).matches(value),
                matches,
                "{pattern} {value}"
            );
        }
    }

    #[test]
    fn networks_and_addresses_match_addresses() {
        let inside = |pattern: &str, value: &str| Pattern::network(pattern).unwrap().matches(value);
        assert!(
            inside("10.0.0.0/8", "10.1.2.3")
                && inside("fd00::/8", "fd00::1")
                && inside("10.0.0.1", "10.0.0.1")
        );
        assert!(!inside("10.0.0.0/8", "11.0.0.1") && !inside("10.0.0.0/8", "host"));
        assert!(Pattern::network("any").is_err());
    }

    #[test]
    fn a_regular_expression_that_does_not_compile_says_why() {
        assert_eq!(Pattern::pcre2("(").unwrap_err(), "unclosed group");
        assert!(Pattern::pcre2("^(?!0)").is_err());
    }
}
