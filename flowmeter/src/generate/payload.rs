//! What packets carry: a text that says what it is, or a DNS message.

use std::{iter, sync::LazyLock};

/// Payload bytes of a full segment: an IPv6 packet of 1,500 bytes.
pub const SEGMENT_BYTES: u16 = 1440;

const TEXT: &[u8] = b"flowmeter generate: synthetic test traffic. ";

static FULL_SEGMENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = TEXT.iter().copied().cycle();
    text.take(usize::from(SEGMENT_BYTES)).collect()
});

/// Room for a name: what a tunnel puts into a query (RFC 1035 section 2.3.4 allows 255 bytes of name).
const DATA_LABELS: [u8; 3] = [63; 3];
/// RFC 2606: nobody's.
const DOMAIN: [&[u8]; 2] = [b"tunnel", b"example"];
const NAME_BYTES: u16 = 3 * 64 + 7 + 8 + 1;
const DNS_HEADER_BYTES: u16 = 12;
const TYPE_AND_CLASS_BYTES: u16 = 4;
const QUERY_BYTES: u16 = DNS_HEADER_BYTES + NAME_BYTES + TYPE_AND_CLASS_BYTES;
/// Of the text in an answer.
const ANSWER_TEXT_BYTES: u8 = 200;
/// Pointer to the name, type, class, time to live, length, length of the text.
const RECORD_BYTES: u16 = 2 + TYPE_AND_CLASS_BYTES + 4 + 2 + 1;
const TXT: u16 = 16;
const IN: u16 = 1;
const TTL_SECONDS: u32 = 1;
/// What base32 is written with, so that names are as long and as odd as those of a tunnel.
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// So many bytes of text, up to [`SEGMENT_BYTES`].
    Text(u16),
    /// The question with this number, for a TXT record.
    DnsQuery(u32),
    DnsAnswer(u32),
}

impl Payload {
    pub const NONE: Self = Self::Text(0);

    /// Bytes.
    pub const fn length(self) -> u16 {
        match self {
            Self::Text(bytes) => bytes,
            Self::DnsQuery(_) => QUERY_BYTES,
            Self::DnsAnswer(_) => QUERY_BYTES + RECORD_BYTES + ANSWER_TEXT_BYTES as u16,
        }
    }

    /// Appends it.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(bytes) => out.extend(FULL_SEGMENT.get(..bytes.into()).unwrap_or_default()),
            Self::DnsQuery(number) => {
                const RECURSION_DESIRED: u16 = 0x0100;
                dns_question(number, RECURSION_DESIRED, 0, out);
            }
            Self::DnsAnswer(number) => {
                const RESPONSE_RECURSION_AVAILABLE: u16 = 0x8180;
                const NAME_OF_QUESTION: u16 = 0xc000 | DNS_HEADER_BYTES;
                dns_question(number, RESPONSE_RECURSION_AVAILABLE, 1, out);
                for word in [NAME_OF_QUESTION, TXT, IN] {
                    out.extend(word.to_be_bytes());
                }
                out.extend(TTL_SECONDS.to_be_bytes());
                out.extend((u16::from(ANSWER_TEXT_BYTES) + 1).to_be_bytes());
                out.push(ANSWER_TEXT_BYTES);
                out.extend(letters(u64::from(number) << 1 | 1).take(ANSWER_TEXT_BYTES.into()));
            }
        }
    }
}

/// Header and question (RFC 1035 section 4.1).
fn dns_question(number: u32, flags: u16, answers: u16, out: &mut Vec<u8>) {
    let id = (number & 0xffff) as u16;
    for word in [id, flags, 1, answers, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    let mut data = letters(u64::from(number) << 1);
    for length in DATA_LABELS {
        out.push(length);
        out.extend(data.by_ref().take(length.into()));
    }
    for label in DOMAIN {
        out.extend(u8::try_from(label.len()));
        out.extend(label);
    }
    out.push(0);
    for word in [TXT, IN] {
        out.extend(word.to_be_bytes());
    }
}

/// Base32 without end, other letters for another seed.
fn letters(seed: u64) -> impl Iterator<Item = u8> {
    let words = (0..).map(move |word: u64| super::noise(seed << 8 | word));
    words
        .flat_map(u64::to_be_bytes)
        .zip(iter::repeat(BASE32))
        .filter_map(|(byte, alphabet)| alphabet.get(usize::from(byte % 32)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(payload: Payload) -> Vec<u8> {
        let mut out = Vec::new();
        payload.write(&mut out);
        assert_eq!(out.len(), usize::from(payload.length()), "{payload:?}");
        out
    }

    /// A name without compression: its text and what stands behind it.
    fn name(mut message: &[u8]) -> (String, &[u8]) {
        let mut labels = Vec::new();
        loop {
            let (length, rest) = message.split_first().unwrap();
            let (label, rest) = rest.split_at(usize::from(*length));
            message = rest;
            if label.is_empty() {
                return (labels.join("."), message);
            }
            labels.push(String::from_utf8(label.to_vec()).unwrap());
        }
    }

    #[test]
    fn text_says_what_it_is() {
        assert!(bytes(Payload::Text(44)).starts_with(b"flowmeter generate: synthetic"));
        assert!(bytes(Payload::NONE).is_empty());
        bytes(Payload::Text(SEGMENT_BYTES));
    }

    #[test]
    fn a_query_is_a_question_for_a_long_name_and_the_answer_repeats_it() {
        let query = bytes(Payload::DnsQuery(70_000));
        assert_eq!(query[..12], [0x11, 0x70, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let (asked, rest) = name(&query[12..]);
        assert!(asked.ends_with(".tunnel.example"), "{asked}");
        assert!(asked.len() > 200);
        assert_eq!(rest, [0, 16, 0, 1]);

        let answer = bytes(Payload::DnsAnswer(70_000));
        assert_eq!(answer[..12], [0x11, 0x70, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..query.len()], query[12..]);
        let record = &answer[query.len()..];
        assert_eq!(record[..13], [0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 1, 0, 201, 200]);
        assert_eq!(record.len(), 13 + 200);
    }

    #[test]
    fn each_query_asks_for_another_name() {
        let names: std::collections::BTreeSet<_> = (0..1000)
            .map(|n| name(&bytes(Payload::DnsQuery(n))[12..]).0)
            .collect();
        assert_eq!(names.len(), 1000);
    }
}
