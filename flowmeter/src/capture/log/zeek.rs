//! Zeek's `conn.log`, as tab-separated values and as JSON.
//!
//! Each line is a whole connection and becomes two flow records, one for each side that sent. They are made so
//! that the tracker finds what Zeek found: TCP flags are those of [`history`], and the originator's first
//! packet comes before the responder's.
//!
//! - **Time.** The line belongs to the interval of the connection's last packet, `ts` plus `duration`.
//! - **Bytes** are those of the IP packets (`orig_ip_bytes`), else those of the payload (`orig_bytes`). Packets
//!   that were not counted (`orig_pkts`) are as many as the history shows, one at least where bytes were sent.
//! - **ICMP** has its type and code in the ports; answers get the type that answers.

mod connection;
mod history;
mod tsv;

use super::{
    Fault, Parsed, Parser, Wrong,
    json::{Keys, Object, Value},
};
use crate::{
    capture::{
        problem::What,
        replay::{Gathered, Interfaces},
    },
    flow::FlowRecord,
};
use connection::{Connection, Gaps};
use tsv::Columns;

/// The observation point: the log does not tell the interface.
const POINT: &str = "zeek";

/// The fields that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Time,
    Duration,
    Originator,
    OriginatorPort,
    Responder,
    ResponderPort,
    Protocol,
    ProtocolNumber,
    State,
    History,
    Vlan,
    OriginatorPackets,
    OriginatorIpBytes,
    OriginatorBytes,
    ResponderPackets,
    ResponderIpBytes,
    ResponderBytes,
    Path,
}

const FIELDS: [(Field, &str); Field::Path as usize + 1] = [
    (Field::Time, "ts"),
    (Field::Duration, "duration"),
    (Field::Originator, "id.orig_h"),
    (Field::OriginatorPort, "id.orig_p"),
    (Field::Responder, "id.resp_h"),
    (Field::ResponderPort, "id.resp_p"),
    (Field::Protocol, "proto"),
    (Field::ProtocolNumber, "ip_proto"),
    (Field::State, "conn_state"),
    (Field::History, "history"),
    (Field::Vlan, "vlan"),
    (Field::OriginatorPackets, "orig_pkts"),
    (Field::OriginatorIpBytes, "orig_ip_bytes"),
    (Field::OriginatorBytes, "orig_bytes"),
    (Field::ResponderPackets, "resp_pkts"),
    (Field::ResponderIpBytes, "resp_ip_bytes"),
    (Field::ResponderBytes, "resp_bytes"),
    (Field::Path, "_path"),
];

impl Field {
    fn of(name: &[u8]) -> Option<Self> {
        let found = FIELDS.iter().find(|(_, known)| known.as_bytes() == name);
        found.map(|(field, _)| *field)
    }

    /// The same within an `id` object, as some pipelines nest it.
    fn within_id(name: &[u8]) -> Option<Self> {
        Self::of(&[b"id.", name].concat())
    }

    #[cold]
    fn fault(self, text: &[u8], wrong: Wrong) -> Fault {
        let name = FIELDS.iter().find(|(field, _)| *field == self);
        let wrong = if text.is_empty() { Wrong::Missing } else { wrong };
        Fault::field(name.map_or("", |(_, name)| name), wrong)
    }
}

/// A member of a JSON line.
#[derive(Clone, Copy)]
enum Member {
    Is(Field),
    /// The object that holds the ends of the connection.
    Id,
}

impl Member {
    fn of(key: &[u8]) -> Option<Self> {
        match key {
            b"id" => Some(Self::Id),
            _ => Field::of(key).map(Self::Is),
        }
    }
}

pub struct ZeekParser {
    columns: Columns,
    keys: Keys<Member>,
    records: [FlowRecord; 2],
    ifindex: Option<u32>,
    gaps: Gaps,
    told: Gaps,
    other_log: bool,
}

impl Default for ZeekParser {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            keys: Keys::new(Member::of),
            records: Default::default(),
            ifindex: None,
            gaps: Gaps::default(),
            told: Gaps::default(),
            other_log: false,
        }
    }
}

impl ZeekParser {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Parser for ZeekParser {
    fn parse(&mut self, line: &[u8]) -> Result<Parsed, Fault> {
        let text = line.trim_ascii_start();
        let connection = match text.first() {
            None => return Ok(Parsed::Other),
            Some(b'#') => {
                self.columns.header(text);
                return Ok(Parsed::Other);
            }
            Some(b'{') => from_json(text, &mut self.keys)?,
            Some(_) => self.columns.connection(line)?,
        };
        let Some(connection) = connection else {
            self.other_log = true;
            return Ok(Parsed::Other);
        };
        let (records, gaps) = connection.records()?;
        let sent = |record: &FlowRecord| record.counters.packets > 0;
        let Some(last_ns) = records
            .iter()
            .filter(|record| sent(record))
            .map(|record| record.counters.last_ns)
            .max()
        else {
            return Ok(Parsed::Empty);
        };
        self.records = records;
        self.gaps = gaps;
        Ok(Parsed::Flow(last_ns))
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<What> {
        let ifindex = *self.ifindex.get_or_insert_with(|| interfaces.ifindex(POINT));
        for record in &mut self.records {
            if record.counters.packets > 0 {
                record.key.ifindex = ifindex;
                into.record(record);
            }
        }
        if self.gaps.packets && !self.told.packets {
            self.told.packets = true;
            return Some(What::PacketsTaken);
        }
        if self.gaps.protocol && !self.told.protocol {
            self.told.protocol = true;
            return Some(What::ProtocolTaken);
        }
        None
    }

    fn without_flows(&self) -> Option<What> {
        self.other_log.then_some(What::OtherZeekLog)
    }
}

/// None for a line of another log in the same stream.
fn from_json<'a>(line: &'a [u8], keys: &mut Keys<Member>) -> Result<Option<Connection<'a>>, Fault> {
    let mut connection = Connection::default();
    let mut object = Object::new(line)?;
    keys.start();
    while let Some((member, value)) = object.next_known(keys)? {
        match (member, value) {
            (Some(Member::Is(field)), _) => connection.set(field, value.scalar()),
            (Some(Member::Id), Value::Nested(inner)) => {
                let mut inner = Object::new(inner)?;
                while let Some((key, value)) = inner.next()? {
                    if let Some(field) = Field::within_id(key) {
                        connection.set(field, value.scalar());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(connection.is_connection().then_some(connection))
}

#[cfg(test)]
mod tests;
