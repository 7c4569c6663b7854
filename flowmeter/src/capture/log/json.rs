//! One JSON object on one line, member by member, without copying.
//!
//! Logs are read at a million lines a second and more; of each line a dozen short members are wanted, most
//! of them text or whole numbers that are read digit by digit. So this finds where members are and leaves
//! their meaning to the caller. It takes every valid object; of what is not valid it takes some (`[}` within
//! a member that nobody asks for), and never more than the line.

use super::fault::Fault;

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Between its quotes, escapes as they stand.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Word(&'a [u8]),
    /// An object or a list, with its brackets.
    Nested(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Numbers are written as text, too. Empty for what is nested or null.
    pub(super) fn scalar(self) -> &'a [u8] {
        match self {
            Self::Word(b"null") | Self::Nested(_) => b"",
            Self::Text(bytes) | Self::Word(bytes) => bytes,
        }
    }
}

pub(super) struct Object<'a> {
    text: &'a [u8],
    at: usize,
    inside: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Fault> {
        let mut object = Self {
            text,
            at: 0,
            inside: true,
        };
        object.expect(b'{')?;
        if object.peek() == Some(b'}') {
            object.at += 1;
            object.end()?;
        }
        Ok(object)
    }

    /// The next member, `None` at the end of the object, behind which nothing may stand.
    pub(super) fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Fault> {
        if !self.inside {
            return Ok(None);
        }
        let key = self.key()?;
        Ok(Some((key, self.value()?)))
    }

    /// The same, with what `keys` knows of the key.
    #[inline]
    pub(super) fn next_known<F: Copy>(
        &mut self,
        keys: &mut Keys<F>,
    ) -> Result<Option<(Option<F>, Value<'a>)>, Fault> {
        if !self.inside {
            return Ok(None);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let field = match keys.guess(rest) {
            Some((length, field)) => {
                self.at += length;
                field
            }
            None => {
                let start = self.at;
                let key = self.key()?;
                keys.learn(self.text.get(start..self.at).unwrap_or_default(), key)
            }
        };
        Ok(Some((field, self.value()?)))
    }

    /// The key, up to its value.
    fn key(&mut self) -> Result<&'a [u8], Fault> {
        self.expect(b'"')?;
        let key = self.text()?;
        self.expect(b':')?;
        self.peek();
        Ok(key)
    }

    /// The value, and what separates it from the next member.
    #[inline]
    fn value(&mut self) -> Result<Value<'a>, Fault> {
        let value = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Value::Text(self.text()?)
            }
            Some(b'{' | b'[') => Value::Nested(self.nested()?),
            _ => Value::Word(self.word()?),
        };
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(b'}') => {
                self.at += 1;
                self.end()?;
            }
            _ => return Err(self.fault()),
        }
        Ok(value)
    }

    fn fault(&self) -> Fault {
        Fault::NotJson { at: self.at }
    }

    /// The next byte that is no white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    #[inline]
    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.peek() != Some(wanted) {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.inside = false;
        if self.peek().is_some() {
            return Err(self.fault());
        }
        Ok(())
    }

    /// Up to the quote that ends a text, which is gone past.
    #[inline]
    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(at) = special(rest) else {
                self.at = self.text.len();
                return Err(self.fault());
            };
            self.at += at;
            match self.text.get(self.at) {
                Some(b'"') => break,
                // What is escaped is no end, whatever it is.
                Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                // A control character.
                _ => return Err(self.fault()),
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(text)
    }

    #[inline]
    fn word(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b'a'..=b'z' | b'E') = self.text.get(self.at) {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        match word {
            [b'0'..=b'9' | b'-', ..] | b"true" | b"false" | b"null" => Ok(word),
            _ => {
                self.at = start;
                Err(self.fault())
            }
        }
    }

    /// Past the bracket that closes the one that is here.
    fn nested(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at) {
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(b'"') => {
                    self.at += 1;
                    self.text()?;
                    continue;
                }
                Some(_) => {}
                None => return Err(self.fault()),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(self.text.get(start..self.at).unwrap_or_default());
            }
        }
    }
}

/// The keys of a log's objects, by which one follows which: all lines of a writer have nearly the same, and to
/// compare a key with the one that is expected takes a third of the time of finding its end and its meaning.
pub(super) struct Keys<F> {
    meaning: fn(&[u8]) -> Option<F>,
    known: Vec<Key<F>>,
    /// Which one a line starts with, and which one was last.
    first: usize,
    last: Option<usize>,
}

struct Key<F> {
    /// From the end of the member before to the value.
    text: Box<[u8]>,
    field: Option<F>,
    next: usize,
}

/// As many keys are remembered, up to this length.
const MOST_KEYS: usize = 128;
const LONGEST_KEY: usize = 64;

impl<F: Copy> Keys<F> {
    pub(super) const fn new(meaning: fn(&[u8]) -> Option<F>) -> Self {
        Self {
            meaning,
            known: Vec::new(),
            first: 0,
            last: None,
        }
    }

    /// Goes back to the start of a line.
    pub(super) const fn start(&mut self) {
        self.last = None;
    }

    /// The length and meaning of the key that `rest` starts with, if it is the expected one.
    #[inline]
    fn guess(&mut self, rest: &[u8]) -> Option<(usize, Option<F>)> {
        let expected = match self.last {
            Some(last) => self.known.get(last)?.next,
            None => self.first,
        };
        let key = self.known.get(expected)?;
        if !rest.starts_with(&key.text) {
            return None;
        }
        self.last = Some(expected);
        Some((key.text.len(), key.field))
    }

    /// The meaning of a key, to be expected from now on.
    fn learn(&mut self, text: &[u8], key: &[u8]) -> Option<F> {
        let known = self.known.iter().position(|known| *known.text == *text);
        let index = match known {
            Some(index) => index,
            None if self.known.len() < MOST_KEYS && text.len() <= LONGEST_KEY => {
                self.known.push(Key {
                    text: text.into(),
                    field: (self.meaning)(key),
                    next: usize::MAX,
                });
                self.known.len() - 1
            }
            None => return (self.meaning)(key),
        };
        match self.last {
            Some(last) => {
                if let Some(last) = self.known.get_mut(last) {
                    last.next = index;
                }
            }
            None => self.first = index,
        }
        self.last = Some(index);
        self.known.get(index)?.field
    }
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Where the first quote, backslash or control character is; eight bytes at a time, since texts are short.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    // The lowest byte that is marked is exact; those above may be marked by its borrow.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | backslashes | controls;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    Some(words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::Value as Json;

    use super::*;

    fn members(text: &[u8]) -> Result<Vec<(&[u8], Value<'_>)>, Fault> {
        let mut object = Object::new(text)?;
        let mut all = Vec::new();
        while let Some(member) = object.next()? {
            all.push(member);
        }
        Ok(all)
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            // What serde_json reads back to the last digit.
            any::<i32>().prop_map(|number| Json::from(f64::from(number) / 8.0)),
            "[ -~é\n\t\"\\\\]{0,30}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Json::from),
                vec(("[a-z\"\\\\]{0,9}", inner), 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_member_of_every_object_is_found(members_of in vec(("[a-z.\"\\\\{\\[ ]{0,20}", json()), 0..9), wide in any::<bool>()) {
            let object = Json::Object(members_of.into_iter().collect());
            let text = if wide {
                // As other writers do, with spaces; line ends cannot be on a line.
                serde_json::to_string_pretty(&object).unwrap().replace('\n', " ")
            } else {
                object.to_string()
            };
            let found = members(text.as_bytes()).unwrap();
            let object = object.as_object().unwrap();
            prop_assert_eq!(found.len(), object.len());
            for (key, value) in found {
                let quoted = |text: &[u8]| [b"\"", text, b"\""].concat();
                let key: String = serde_json::from_slice(&quoted(key)).unwrap();
                let value: Json = match value {
                    Value::Text(text) => serde_json::from_slice(&quoted(text)).unwrap(),
                    Value::Word(text) | Value::Nested(text) => serde_json::from_slice(text).unwrap(),
                };
                prop_assert_eq!(object.get(&key), Some(&value));
            }
        }

        /// Whatever lines came before.
        #[test]
        fn known_keys_are_the_same_members(lines in vec(vec(("[a-c]{0,2}| a|a ", json()), 0..9), 0..9), wide in any::<bool>()) {
            let mut keys = Keys::new(|key| (key != b"b").then(|| key.to_vec().leak() as &[u8]));
            for members_of in lines {
                let object = Json::Object(members_of.into_iter().collect()).to_string();
                let text = if wide { object.replace(',', ", ").replace("\":", "\" :  ") } else { object };
                let mut object = Object::new(text.as_bytes()).unwrap();
                keys.start();
                for (key, value) in members(text.as_bytes()).unwrap() {
                    let (field, found) = object.next_known(&mut keys).unwrap().unwrap();
                    prop_assert_eq!(field, (key != b"b").then_some(key));
                    prop_assert_eq!(found, value);
                }
                prop_assert!(object.next_known(&mut keys).unwrap().is_none());
            }
        }

        #[test]
        fn a_cut_object_is_refused_at_its_end(value in json(), cut in any::<prop::sample::Index>()) {
            let text = serde_json::json!({ "a": value, "b": 1 }).to_string();
            let cut = &text.as_bytes()[..cut.index(text.len())];
            let Err(Fault::NotJson { at }) = members(cut) else { panic!("taken") };
            prop_assert!(at <= cut.len());
        }

        #[test]
        fn what_is_special_is_found_as_by_looking_at_each_byte(bytes in vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(special(&bytes), expected);
        }
    }

    #[test]
    fn what_is_no_object_is_refused_where_it_stops_being_one() {
        let cases: &[(&str, usize)] = &[
            ("", 0),
            ("  x", 2),
            ("[]", 0),
            ("{", 1),
            ("{}}", 2),
            ("{\"a\":1} {", 8),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("{\"a\":}", 5),
            ("{\"a\":nul}", 5),
            ("{\"a\":1 2}", 7),
            ("{\"a\":\"b}", 8),
            ("{\"a\":\"b\\", 8),
            ("{\"a\":\"b\u{1}\"}", 7),
            ("{\"a\":[[]}", 9),
            ("{a:1}", 1),
        ];
        for (text, at) in cases {
            assert_eq!(
                members(text.as_bytes()),
                Err(Fault::NotJson { at: *at }),
                "{text}"
            );
        }
    }
}
