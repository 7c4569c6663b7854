//! JSON lines of pmacctd, nfacctd, sfacctd and uacctd, as their print plugin and their message queues have them.
//!
//! - **Time.** A record is from `timestamp_start` to `timestamp_end`, or `timestamp_min` to `timestamp_max`; else
//!   at `timestamp_arrival`, `timestamp_export`, or at the start of its time bin, `stamp_inserted`. The end of
//!   the bin is not taken: it is the time at which the daemon wrote. Without any of these it takes the time that
//!   the caller gives. Every form is read that pmacct can be told to write; times without a zone are local.
//! - **Interface.** The exporter's address (`peer_ip_src`), else `pmacct`. Input and output interface and the
//!   VLANs of an exporter differ by direction: with them in the key, no answer would find its request. `vlan`
//!   is taken where there is no exporter.
//! - **TCP flags** are the union over the packets of a record; see [`flags`].
//! - **ICMP.** An exporter has type and code in the destination port. pmacctd has neither: its ICMP is taken like
//!   fragments, which have no ports either, so that both directions are one connection.

mod flags;

use std::net::IpAddr;

use flowmeter_common::{
    FlowCounters, FlowKey, KeyFlags,
    flow::protocol::{DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE},
};
use hashbrown::HashMap;
use jiff::tz::TimeZone;

use super::{
    Fault, Parsed, Parser, Wrong,
    json::{Keys, Object, Value},
    number::{address, small},
    protocol,
    time::{Calendar, seconds},
};
use crate::{
    capture::{
        problem::{TimeFrom, What},
        replay::{Gathered, Interfaces},
    },
    flow::{FlowRecord, ip_address},
};

/// The observation point of lines that name no exporter.
const NO_EXPORTER: &str = "pmacct";
/// As many exporters are remembered.
const MOST_EXPORTERS: usize = 10_000;

/// The members of a line that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    Protocol,
    TcpFlags,
    IcmpType,
    IcmpCode,
    Vlan,
    Exporter,
    EventType,
    Packets,
    Bytes,
    Start,
    End,
    Min,
    Max,
    Arrival,
    Export,
    Inserted,
}

const FIELDS: [(Field, &str); Field::Inserted as usize + 1] = [
    (Field::Source, "ip_src"),
    (Field::Destination, "ip_dst"),
    (Field::SourcePort, "port_src"),
    (Field::DestinationPort, "port_dst"),
    (Field::Protocol, "ip_proto"),
    (Field::TcpFlags, "tcp_flags"),
    (Field::IcmpType, "icmp_type"),
    (Field::IcmpCode, "icmp_code"),
    (Field::Vlan, "vlan"),
    (Field::Exporter, "peer_ip_src"),
    (Field::EventType, "event_type"),
    (Field::Packets, "packets"),
    (Field::Bytes, "bytes"),
    (Field::Start, "timestamp_start"),
    (Field::End, "timestamp_end"),
    (Field::Min, "timestamp_min"),
    (Field::Max, "timestamp_max"),
    (Field::Arrival, "timestamp_arrival"),
    (Field::Export, "timestamp_export"),
    (Field::Inserted, "stamp_inserted"),
];

impl Field {
    fn of(key: &[u8]) -> Option<Self> {
        let found = FIELDS.iter().find(|(_, name)| name.as_bytes() == key);
        found.map(|(field, _)| *field)
    }

    #[cold]
    fn fault(self, text: &[u8], wrong: Wrong) -> Fault {
        let name = FIELDS.iter().find(|(field, _)| *field == self);
        let wrong = if text.is_empty() { Wrong::Missing } else { wrong };
        Fault::field(name.map_or("", |(_, name)| name), wrong)
    }
}

/// What a line holds of them.
struct Members<'a>([Value<'a>; FIELDS.len()]);

impl<'a> Members<'a> {
    fn of(line: &'a [u8], keys: &mut Keys<Field>) -> Result<Self, Fault> {
        let mut object = Object::new(line)?;
        let mut members = Self([Value::Word(b""); FIELDS.len()]);
        keys.start();
        while let Some((field, value)) = object.next_known(keys)? {
            if let Some(field) = field
                && let Some(slot) = members.0.get_mut(field as usize)
            {
                *slot = value;
            }
        }
        Ok(members)
    }

    fn value(&self, field: Field) -> Value<'a> {
        self.0.get(field as usize).copied().unwrap_or(Value::Word(b""))
    }

    /// Empty if it is not there, or nothing that has a text.
    fn text(&self, field: Field) -> &'a [u8] {
        self.value(field).scalar()
    }

    /// `None` if it is not there.
    fn number<T: TryFrom<u64>>(&self, field: Field) -> Result<Option<T>, Fault> {
        match self.text(field) {
            b"" => Ok(None),
            text => small(text)
                .map(Some)
                .ok_or_else(|| field.fault(text, Wrong::Number)),
        }
    }

    fn address(&self, field: Field) -> Result<([u8; 16], bool), Fault> {
        let text = self.text(field);
        address(text).ok_or_else(|| field.fault(text, Wrong::Address))
    }

    /// Source and destination port, or ICMP type and code; `None` if the line does not tell type and code.
    fn ports(&self, protocol: u8, exported: bool) -> Result<Option<(u16, u16)>, Fault> {
        let port = |field| match self.number(field)? {
            None if matches!(protocol, TCP | UDP | SCTP | DCCP | UDP_LITE) => {
                Err(field.fault(b"", Wrong::Missing))
            }
            port => Ok(port.unwrap_or(0)),
        };
        let ports = (port(Field::SourcePort)?, port(Field::DestinationPort)?);
        if !matches!(protocol, ICMP | ICMPV6) {
            return Ok(Some(ports));
        }
        if let Some(kind) = self.number::<u8>(Field::IcmpType)? {
            let code = self.number::<u8>(Field::IcmpCode)?.unwrap_or(0);
            return Ok(Some((kind.into(), code.into())));
        }
        Ok(match ports {
            // Type 0 is the echo reply of IPv4, and of no use in IPv6.
            (0, 0) if !exported || protocol == ICMPV6 => None,
            // RFC 3954 section 8, ICMP_TYPE: type times 256, plus code.
            (0, both) => Some((both >> 8, both & 0xff)),
            (0..=255, 0..=255) => Some(ports),
            _ => None,
        })
    }
}

pub struct PmacctParser {
    keys: Keys<Field>,
    calendar: Calendar,
    /// For records without a time, and where it is from.
    other_time: (u64, TimeFrom),
    other_time_used: bool,
    other_time_told: bool,
    zone_told: bool,
    record: FlowRecord,
    exporter: Option<([u8; 16], bool)>,
    /// Numbers of the exporters that were met.
    exporters: HashMap<Option<([u8; 16], bool)>, u32>,
}

impl PmacctParser {
    /// Records without a time take `time_ns`; times without a zone are in `zone`.
    pub fn new(time_ns: u64, from: TimeFrom, zone: TimeZone) -> Self {
        Self {
            keys: Keys::new(Field::of),
            calendar: Calendar::new(zone),
            other_time: (time_ns, from),
            other_time_used: false,
            other_time_told: false,
            zone_told: false,
            record: FlowRecord::default(),
            exporter: None,
            exporters: HashMap::new(),
        }
    }

    /// `None` for a time that is not set: absent, or zeros.
    #[inline]
    fn time(&mut self, members: &Members<'_>, field: Field) -> Result<Option<u64>, Fault> {
        let text = members.text(field);
        if text.is_empty() || text.starts_with(b"0000-00-00") {
            return Ok(None);
        }
        let time = if text.get(4) == Some(&b'-') {
            self.calendar.read(text)
        } else {
            seconds(text)
        };
        match time {
            Some(0) => Ok(None),
            Some(_) => Ok(time),
            None => Err(field.fault(text, Wrong::Time)),
        }
    }

    /// First and last packet, as far as they are known.
    fn times(&mut self, members: &Members<'_>) -> Result<(u64, u64), Fault> {
        for (start, end) in [(Field::Start, Field::End), (Field::Min, Field::Max)] {
            let start = self.time(members, start)?;
            let end = self.time(members, end)?;
            if let Some(one) = start.or(end) {
                let other = end.unwrap_or(one);
                // Exporters' clocks are set while flows run.
                return Ok((one.min(other), one.max(other)));
            }
        }
        for field in [Field::Arrival, Field::Export, Field::Inserted] {
            if let Some(time) = self.time(members, field)? {
                return Ok((time, time));
            }
        }
        self.other_time_used = true;
        Ok((self.other_time.0, self.other_time.0))
    }
}

impl Parser for PmacctParser {
    fn parse(&mut self, line: &[u8]) -> Result<Parsed, Fault> {
        if line.trim_ascii().is_empty() {
            return Ok(Parsed::Other);
        }
        let members = Members::of(line, &mut self.keys)?;
        if matches!(members.text(Field::EventType), b"purge_init" | b"purge_close") {
            return Ok(Parsed::Other);
        }
        let (source, ipv6) = members.address(Field::Source)?;
        let (destination, other_ipv6) = members.address(Field::Destination)?;
        if ipv6 != other_ipv6 {
            return Err(Field::Destination.fault(b"-", Wrong::Version));
        }
        let protocol = members.text(Field::Protocol);
        let protocol =
            protocol::number(protocol).ok_or_else(|| Field::Protocol.fault(protocol, Wrong::Protocol))?;
        // NetFlow's events of NAT and firewalls have neither.
        let packets = members.number(Field::Packets)?.unwrap_or(0);
        let l3_bytes = members.number(Field::Bytes)?.unwrap_or(0);
        self.exporter = match members.text(Field::Exporter) {
            b"" => None,
            _ => Some(members.address(Field::Exporter)?),
        };
        let exported = self.exporter.is_some();
        let ports = members.ports(protocol, exported)?;
        let vlan_id = members.number(Field::Vlan)?.unwrap_or(0);
        let (first_ns, last_ns) = self.times(&members)?;
        let mut counters = FlowCounters {
            packets,
            l3_bytes,
            wire_bytes: l3_bytes,
            first_ns,
            last_ns,
            ..FlowCounters::default()
        };
        if protocol == TCP {
            let union = flags::union(members.value(Field::TcpFlags))
                .ok_or_else(|| Field::TcpFlags.fault(b"-", Wrong::Flags))?;
            flags::set(&mut counters, union);
        }
        let mut flags = if ipv6 { KeyFlags::IPV6 } else { 0 };
        if ports.is_none() {
            flags |= KeyFlags::FRAGMENT;
        }
        let (source_port, destination_port) = ports.unwrap_or_default();
        self.record = FlowRecord {
            key: FlowKey {
                source,
                destination,
                source_port,
                destination_port,
                protocol,
                flags: KeyFlags(flags),
                vlan_id: if exported { 0 } else { vlan_id },
                ..FlowKey::default()
            },
            counters,
        };
        Ok(if packets == 0 {
            Parsed::Empty
        } else {
            Parsed::Flow(last_ns)
        })
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<What> {
        let exporter = self.exporter;
        if self.exporters.len() > MOST_EXPORTERS {
            self.exporters.clear();
        }
        self.record.key.ifindex = *self.exporters.entry(exporter).or_insert_with(|| {
            match exporter.map(|(ip, ipv6)| ip_address(ip, ipv6)) {
                // An exporter that came over IPv6 sockets.
                Some(IpAddr::V6(ip)) => interfaces.ifindex(&ip.to_canonical().to_string()),
                Some(IpAddr::V4(ip)) => interfaces.ifindex(&ip.to_string()),
                None => interfaces.ifindex(NO_EXPORTER),
            }
        });
        into.record(&self.record);
        if self.other_time_used && !self.other_time_told {
            self.other_time_told = true;
            let (time_ns, from) = self.other_time;
            return Some(What::TimeTaken { time_ns, from });
        }
        if self.zone_told {
            return None;
        }
        let zone = name(self.calendar.zone_used()?);
        self.zone_told = true;
        Some(What::ZoneTaken { zone })
    }
}

/// What people call a zone: that of the host may have no name.
fn name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("this host").to_owned()
}

#[cfg(test)]
mod tests;
