//! The shape of a flow event, as far as a slice is made of it. What is left out was zero.

use std::{borrow::Cow, fmt, net::IpAddr};

use flowmeter_common::{FlowCounters, Tunnel, flow::tcp_flags};
use serde::{Deserialize, Deserializer, de};

use super::{Fault, Wrong};
use crate::{
    capture::log::time::Calendar,
    flow::{EndReason, Endpoint, InitiatorBasis, Outcome, Slice},
};

/// Linux allows 15 bytes for the name of an interface, captures hold longer ones.
const LONGEST_NAME: usize = 255;

#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    event: Times<'a>,
    source: Side,
    destination: Side,
    #[serde(borrow)]
    flow: Flow<'a>,
    #[serde(borrow)]
    network: Network<'a>,
    icmp: Option<Icmp>,
    #[serde(borrow)]
    observer: Observer<'a>,
    #[serde(default)]
    labels: Labels,
}

/// Marks of a whole event.
#[derive(Default, Deserialize)]
struct Labels {
    synthetic: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Times<'a> {
    #[serde(borrow)]
    start: Cow<'a, str>,
    #[serde(borrow)]
    end: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Side {
    ip: IpAddr,
    #[serde(default)]
    port: u16,
    bytes: Count,
    packets: Count,
}

#[derive(Deserialize)]
struct Flow<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    end_reason: Option<Cow<'a, str>>,
    #[serde(default)]
    fragment: bool,
    #[serde(borrow)]
    tunnel: Option<TunnelPart<'a>>,
    sampling: Option<u32>,
    #[serde(borrow)]
    initiator: Party<'a>,
    #[serde(borrow, default)]
    responder: Party<'a>,
}

#[derive(Deserialize)]
struct TunnelPart<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    id: Count,
}

#[derive(Default, Deserialize)]
struct Party<'a> {
    #[serde(borrow)]
    basis: Option<Cow<'a, str>>,
    #[serde(default)]
    wire_bytes: Count,
    #[serde(default)]
    first_seconds: f64,
    #[serde(default)]
    last_seconds: f64,
    #[serde(borrow)]
    tcp: Option<PartyTcp<'a>>,
}

#[derive(Deserialize)]
struct PartyTcp<'a> {
    #[serde(borrow)]
    first_flags: Cow<'a, str>,
    #[serde(borrow)]
    flags: Cow<'a, str>,
    syn: Count,
    syn_ack: Count,
    fin: Count,
    rst: Count,
}

#[derive(Deserialize)]
struct Network<'a> {
    iana_number: u8,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    vlan: Option<Vlan>,
}

#[derive(Deserialize)]
struct Vlan {
    id: u16,
}

#[derive(Deserialize)]
struct Icmp {
    r#type: u16,
    code: u16,
}

#[derive(Deserialize)]
struct Observer<'a> {
    #[serde(borrow)]
    ingress: Option<Point<'a>>,
    #[serde(borrow)]
    egress: Option<Point<'a>>,
}

#[derive(Deserialize)]
struct Point<'a> {
    #[serde(borrow)]
    interface: Interface<'a>,
}

#[derive(Deserialize)]
struct Interface<'a> {
    id: Count,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// A count, which the `wazuh4` schema writes as text where it is large.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count(pub(crate) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Count;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a count")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Count, E> {
                Ok(Count(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                text.parse().map(Count).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Event<'_> {
    /// The interface's name, and how many packets each one that was counted stands for.
    pub(super) fn point(&self) -> (&str, u32) {
        let observer = &self.observer;
        let point = observer.egress.as_ref().or(observer.ingress.as_ref());
        let name = point.map_or("", |point| &point.interface.name);
        (name, self.flow.sampling.unwrap_or(1))
    }

    /// True if the traffic was made up by `flowmeter generate`.
    pub(super) const fn synthetic(&self) -> bool {
        self.labels.synthetic.is_some()
    }

    pub(super) fn slice(&self) -> Result<Slice, Fault> {
        let (flow, network) = (&self.flow, &self.network);
        let (egress, point) = match (&self.observer.egress, &self.observer.ingress) {
            (Some(point), _) => (true, point),
            (None, Some(point)) => (false, point),
            (None, None) => return Err(Fault::missing("observer.ingress")),
        };
        if point.interface.name.len() > LONGEST_NAME {
            return Err(Fault::field("interface.name", Wrong::Word));
        }
        let mut calendar = Calendar::utc();
        let mut time = |field, text: &str| {
            let ns = calendar.read(text.as_bytes());
            ns.ok_or(Fault::field(field, Wrong::Time))
        };
        let start_ns = time("event.start", &self.event.start)?;
        let last_ns = time("event.end", &self.event.end)?;
        let basis = flow.initiator.basis.as_deref().unwrap_or_default();
        let (tunnel, tunnel_id) = match &flow.tunnel {
            Some(tunnel) => (
                named("flow.tunnel.kind", &Tunnel::ALL, Tunnel::name, &tunnel.kind)?,
                tunnel.id.narrow("flow.tunnel.id")?,
            ),
            None => (Tunnel::None, 0),
        };
        let icmp = self.icmp.as_ref();
        let end = |side: &Side, icmp: Option<u16>| Endpoint {
            ip: side.ip,
            port: icmp.unwrap_or(side.port),
        };
        Ok(Slice {
            ifindex: point.interface.id.narrow("observer.ingress.interface.id")?,
            vlan_id: network.vlan.as_ref().map_or(0, |vlan| vlan.id),
            tunnel,
            tunnel_id,
            fragment: flow.fragment,
            ipv6: network.r#type == "ipv6",
            protocol: network.iana_number,
            initiator: end(&self.source, icmp.map(|icmp| icmp.r#type)),
            responder: end(&self.destination, icmp.map(|icmp| icmp.code)),
            basis: named(
                "flow.initiator.basis",
                &InitiatorBasis::ALL,
                InitiatorBasis::name,
                basis,
            )?,
            outcome: named("flow.outcome", &Outcome::ALL, Outcome::name, &flow.outcome)?,
            id: u64::from_str_radix(&flow.id, 16).map_err(|_| Fault::field("flow.id", Wrong::Number))?,
            start_ns,
            last_ns,
            initiator_egress: egress,
            forward: flow.initiator.counters(&self.source, start_ns)?,
            reverse: flow.responder.counters(&self.destination, start_ns)?,
            end: match &flow.end_reason {
                Some(reason) => Some(named(
                    "flow.end_reason",
                    &EndReason::ALL,
                    EndReason::name,
                    reason,
                )?),
                None => None,
            },
        })
    }
}

impl Party<'_> {
    fn counters(&self, side: &Side, start_ns: u64) -> Result<FlowCounters, Fault> {
        if side.packets.0 == 0 {
            return Ok(FlowCounters::default());
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and is checked by the sum"
        )]
        let at = |field, seconds: f64| {
            start_ns
                .checked_add_signed((seconds * 1e9).round() as i64)
                .ok_or(Fault::field(field, Wrong::Time))
        };
        let counters = FlowCounters {
            packets: side.packets.0,
            l3_bytes: side.bytes.0,
            wire_bytes: self.wire_bytes.0,
            first_ns: at("first_seconds", self.first_seconds)?,
            last_ns: at("last_seconds", self.last_seconds)?,
            ..FlowCounters::default()
        };
        let Some(tcp) = &self.tcp else {
            return Ok(counters);
        };
        Ok(FlowCounters {
            syn: tcp.syn.narrow("tcp.syn")?,
            syn_ack: tcp.syn_ack.narrow("tcp.syn_ack")?,
            fin: tcp.fin.narrow("tcp.fin")?,
            rst: tcp.rst.narrow("tcp.rst")?,
            tcp_flags: u32::from(flags("tcp.flags", &tcp.flags)?),
            first_tcp_flags: flags("tcp.first_flags", &tcp.first_flags)?,
            ..counters
        })
    }
}

impl Count {
    fn narrow<T: TryFrom<u64>>(self, field: &'static str) -> Result<T, Fault> {
        T::try_from(self.0).map_err(|_| Fault::field(field, Wrong::Number))
    }
}

fn named<T: Copy>(
    field: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
    wanted: &str,
) -> Result<T, Fault> {
    let found = all.iter().copied().find(|&one| name(one) == wanted);
    found.ok_or(Fault::field(field, Wrong::Word))
}

fn flags(field: &'static str, text: &str) -> Result<u8, Fault> {
    if text == "NONE" {
        return Ok(0);
    }
    text.split(',').try_fold(0, |all, name| {
        let flag = tcp_flags::NAMES.iter().find(|(_, known)| *known == name);
        flag.map(|(bit, _)| all | bit)
            .ok_or(Fault::field(field, Wrong::Flags))
    })
}
