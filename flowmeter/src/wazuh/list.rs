//! CDB lists: keys that rules look addresses up in.
//!
//! Source: `Lists_OP_MakeCDB` and `OS_DBSeachKeyAddress` of `src/analysisd`, Wazuh 4.14.7.

use std::collections::BTreeSet;

/// The keys of one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(BTreeSet<String>);

impl List {
    /// Lines without a colon are no entries. A key with colons stands in double quotes.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(key).map(str::to_owned).collect())
    }

    /// `lookup="match_key"`
    pub fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    /// `lookup="address_match_key"`: the whole address, or a prefix of it that ends in a dot.
    pub fn covers(&self, address: &str) -> bool {
        self.has(address)
            || address
                .match_indices('.')
                .any(|(dot, _)| address.get(..=dot).is_some_and(|prefix| self.has(prefix)))
    }

    /// Keys in CIDR notation, which never match anything.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|key| key.contains('/'))
    }
}

fn key(line: &str) -> Option<&str> {
    let colon = line.find(':')?;
    match line.find('"') {
        Some(quote) if quote < colon => line.get(quote + 1..)?.split_once('"').map(|(key, _)| key),
        _ => line.get(..colon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_covered_whole_or_by_a_dotted_prefix() {
        let list = List::parse(
            "192.0.2.250:one\n198.51.100.:net\r\n\"2001:db8::250\":six\nno entry\n10.0.0.0/8:cidr\n10.1:no dot\n",
        );
        for (address, covered) in [
            ("192.0.2.250", true),
            ("192.0.2.25", false),
            ("198.51.100.7", true),
            ("198.51.10.7", false),
            ("2001:db8::250", true),
            ("2001:db8::25", false),
            ("10.0.0.0", false),
            ("10.1.2.3", false),
        ] {
            assert_eq!(list.covers(address), covered, "{address}");
        }
        assert_eq!(list.networks().collect::<Vec<_>>(), ["10.0.0.0/8"]);
    }
}
