//! A connection as its line tells it, and as two flow records.

use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags,
    flow::protocol::{ICMP, ICMPV6, TCP},
};

use super::{FIELDS, Field, history};
use crate::{
    capture::log::{
        Fault, Wrong,
        number::{address, small, whole},
        protocol,
        time::{Calendar, seconds},
    },
    flow::FlowRecord,
};

const MILLISECOND_NS: u64 = 1_000_000;

/// The texts of a line, by [`Field`]; empty if it is not set.
#[derive(Default)]
pub(super) struct Connection<'a> {
    texts: [&'a [u8]; FIELDS.len()],
}

/// What a line did not tell and was filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    pub(super) packets: bool,
    pub(super) protocol: bool,
}

impl<'a> Connection<'a> {
    #[inline]
    pub(super) fn set(&mut self, field: Field, text: &'a [u8]) {
        if let Some(slot) = self.texts.get_mut(field as usize) {
            *slot = text;
        }
    }

    #[inline]
    fn text(&self, field: Field) -> &'a [u8] {
        self.texts.get(field as usize).copied().unwrap_or_default()
    }

    /// False for a line of dns.log and the like, in a stream of all logs or in a file of their own.
    pub(super) fn is_connection(&self) -> bool {
        match self.text(Field::Path) {
            b"" => [Field::State, Field::OriginatorPackets, Field::History]
                .into_iter()
                .any(|field| !self.text(field).is_empty()),
            path => path == b"conn",
        }
    }

    /// What the originator sent and what the responder sent; without packets if it sent none.
    pub(super) fn records(&self) -> Result<([FlowRecord; 2], Gaps), Fault> {
        let (originator, ipv6) = self.address(Field::Originator)?;
        let (responder, other_ipv6) = self.address(Field::Responder)?;
        if ipv6 != other_ipv6 {
            return Err(Field::Responder.fault(b"-", Wrong::Version));
        }
        let port = |field: Field| {
            let port = self.number::<u16>(field)?;
            port.ok_or_else(|| field.fault(b"", Wrong::Missing))
        };
        let originator_port = port(Field::OriginatorPort)?;
        let responder_port = port(Field::ResponderPort)?;
        let (protocol, known) = self.protocol(ipv6)?;
        let vlan_id = self.number(Field::Vlan)?.unwrap_or(0);
        let (first_ns, last_ns) = self.times()?;

        let key = FlowKey {
            source: originator,
            destination: responder,
            source_port: originator_port,
            destination_port: responder_port,
            protocol,
            flags: KeyFlags(if ipv6 { KeyFlags::IPV6 } else { 0 }),
            vlan_id,
            ..FlowKey::default()
        };
        let back = answering(key);

        let tcp = protocol == TCP;
        let history = match self.text(Field::History) {
            b"" if tcp => history::of_state(self.text(Field::State)),
            history => history,
        };
        let (from_originator, from_responder) = history::sides(history, tcp);
        let (sent, gap) = self.sent(ORIGINATOR, from_originator.packets)?;
        let (answered, other_gap) = self.sent(RESPONDER, from_responder.packets)?;
        let counters = |(packets, l3_bytes): (u64, u64), first_ns: u64, side: &history::Side| {
            let mut counters = FlowCounters {
                packets,
                l3_bytes,
                wire_bytes: l3_bytes,
                first_ns,
                last_ns: last_ns.max(first_ns),
                ..FlowCounters::default()
            };
            if tcp && packets > 0 {
                side.set(&mut counters);
            }
            counters
        };
        // Which packet was the first of the responder is not told, only that it was not the first of all.
        let answer_ns = first_ns + u64::from(sent.0 > 0);
        let records = [
            FlowRecord {
                key,
                counters: counters(sent, first_ns, &from_originator),
            },
            FlowRecord {
                key: back,
                counters: counters(answered, answer_ns, &from_responder),
            },
        ];
        let gaps = Gaps {
            packets: gap || other_gap,
            protocol: !known,
        };
        Ok((records, gaps))
    }

    /// `None` if it is not set.
    #[inline]
    fn number<T: TryFrom<u64>>(&self, field: Field) -> Result<Option<T>, Fault> {
        match self.text(field) {
            b"" => Ok(None),
            text => small(text)
                .map(Some)
                .ok_or_else(|| field.fault(text, Wrong::Number)),
        }
    }

    #[inline]
    fn address(&self, field: Field) -> Result<([u8; 16], bool), Fault> {
        let text = self.text(field);
        address(text).ok_or_else(|| field.fault(text, Wrong::Address))
    }

    /// The number, and whether the line tells it.
    fn protocol(&self, ipv6: bool) -> Result<(u8, bool), Fault> {
        if let Some(number) = self.number(Field::ProtocolNumber)? {
            return Ok((number, true));
        }
        match self.text(Field::Protocol) {
            b"icmp" if ipv6 => Ok((ICMPV6, true)),
            // What Zeek says of all that it has no analyzer for.
            b"unknown_transport" => Ok((protocol::UNKNOWN, false)),
            text => match protocol::number(text) {
                Some(number) => Ok((number, true)),
                None => Err(Field::Protocol.fault(text, Wrong::Protocol)),
            },
        }
    }

    /// First and last packet of the connection.
    fn times(&self) -> Result<(u64, u64), Fault> {
        let text = self.text(Field::Time);
        let first_ns = if text.get(4) == Some(&b'-') {
            // JSON::TS_ISO8601, always in UTC.
            Calendar::utc().read(text)
        } else {
            // JSON::TS_MILLIS, where seconds would be out of range.
            seconds(text).or_else(|| whole(text)?.checked_mul(MILLISECOND_NS))
        };
        let first_ns = first_ns.ok_or_else(|| Field::Time.fault(text, Wrong::Time))?;
        let text = self.text(Field::Duration);
        let duration_ns = if text.is_empty() { Some(0) } else { seconds(text) };
        duration_ns
            .and_then(|duration_ns| first_ns.checked_add(duration_ns))
            // One nanosecond is needed for the answer.
            .filter(|&last_ns| last_ns < u64::MAX)
            .map(|last_ns| (first_ns, last_ns))
            .ok_or_else(|| Field::Duration.fault(text, Wrong::Time))
    }

    /// Packets and bytes of one side, and whether its packets were not counted.
    fn sent(&self, [packets, ip_bytes, bytes]: [Field; 3], shown: u64) -> Result<((u64, u64), bool), Fault> {
        let l3_bytes = match self.number(ip_bytes)? {
            Some(bytes) => bytes,
            None => self.number(bytes)?.unwrap_or(0),
        };
        Ok(match self.number(packets)? {
            Some(packets) => ((packets, l3_bytes), false),
            None => {
                let least = shown.max(u64::from(l3_bytes > 0));
                ((least, l3_bytes), least > 0)
            }
        })
    }
}

/// What tells how much a side has sent: packets, bytes of IP packets, bytes of payload.
const ORIGINATOR: [Field; 3] = [
    Field::OriginatorPackets,
    Field::OriginatorIpBytes,
    Field::OriginatorBytes,
];
const RESPONDER: [Field; 3] = [
    Field::ResponderPackets,
    Field::ResponderIpBytes,
    Field::ResponderBytes,
];

/// The key of what comes back.
fn answering(key: FlowKey) -> FlowKey {
    let (source_port, destination_port) = match key.protocol {
        ICMP | ICMPV6 => (counterpart(key.protocol, key.source_port), key.destination_port),
        _ => (key.destination_port, key.source_port),
    };
    FlowKey {
        source: key.destination,
        destination: key.source,
        source_port,
        destination_port,
        ..key
    }
}

/// The ICMP type that answers, or asks; the same type if there is no other (the pairs of Community ID, which
/// are Zeek's own).
fn counterpart(protocol: u8, kind: u16) -> u16 {
    let pairs: &[(u16, u16)] = if protocol == ICMP {
        &[(8, 0), (13, 14), (15, 16), (17, 18), (10, 9)]
    } else {
        &[
            (128, 129),
            (130, 131),
            (133, 134),
            (135, 136),
            (139, 140),
            (144, 145),
        ]
    };
    pairs
        .iter()
        .find_map(|&(request, reply)| match kind {
            _ if kind == request => Some(reply),
            _ if kind == reply => Some(request),
            _ => None,
        })
        .unwrap_or(kind)
}
