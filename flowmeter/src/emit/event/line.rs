//! The flow event by hand: the same bytes as [`FlowEvent`](super::flow::FlowEvent) serialises to (a property test
//! holds the two together), without its intermediate values. Flows are nearly all of the output, and this is
//! most of what one costs.
//!
//! A new field is a text here, with all the constant text around it, or a table in `wording.rs`.

use std::{cell::Cell, net::IpAddr};

use flowmeter_common::{FlowCounters, Tunnel};

use super::{
    Encoder, Labels,
    cursor::{Cursor, Piece, ROOM},
    flow,
    number::{self, ADDRESS, Day, Time},
    value::Words,
    wording,
};
use crate::{
    config::Schema,
    enrich::{Cast, Enriched},
    flow::Slice,
};

/// Writes the event of one slice, without its line end, and tells its length. `None`: it is one of the few that are left
/// to serde, with a text to escape or longer than the room.
pub(super) fn write(
    encoder: &Encoder,
    slice: &Slice,
    enriched: &Enriched<'_>,
    interface: &str,
    room: &mut [u8; ROOM],
) -> Option<usize> {
    let mut line = Line {
        out: Cursor::new(room),
        day: &encoder.day,
        wazuh4: encoder.schema == Schema::Wazuh4,
    };
    let (initiator, responder) = (slice.initiator, slice.responder);
    let ports = flow::has_ports(slice).then_some((initiator.port, responder.port));
    line.text("{\"@timestamp\":");
    let end = Time::new(slice.last_ns, line.day);
    match flow::last_packet_ns(slice) {
        ns if ns == slice.last_ns => end.milliseconds(&mut line.out),
        ns => Time::new(ns, line.day).milliseconds(&mut line.out),
    }
    let (mut source, mut destination) = (None, None);
    if line.wazuh4 {
        line.text(",\"netflow\":\"true\",\"srcip\":");
        source = Some(line.ip(initiator.ip));
        if let Some((port, _)) = ports {
            line.text(",\"srcport\":");
            line.unsigned(port.into());
        }
        line.text(",\"dstip\":");
        destination = Some(line.ip(responder.ip));
        if let Some((_, port)) = ports {
            line.text(",\"dstport\":");
            line.unsigned(port.into());
        }
        line.text(",\"protocol\":");
        line.word(&wording::PROTOCOLS, slice.protocol);
    }
    event(&mut line, encoder, slice, &end);
    if line.wazuh4 {
        line.text(",\"collector\":{\"name\":\"");
        line.string(&encoder.collector);
        line.text("\"}");
    } else {
        line.text(",\"ecs\":{\"version\":\"");
        line.text(super::ECS_VERSION);
        line.text("\"}");
    }
    if let Some(Labels { synthetic }) = encoder.labels() {
        line.text(",\"labels\":{\"synthetic\":\"");
        line.text(synthetic);
        line.text("\"}");
    }
    line.text(",\"source\":{\"ip\":");
    line.ip_again(source, initiator.ip);
    line.sent(ports.map(|(port, _)| port), &slice.forward);
    line.text(",\"destination\":{\"ip\":");
    line.ip_again(destination, responder.ip);
    line.sent(ports.map(|(_, port)| port), &slice.reverse);
    flow_part(&mut line, encoder, slice, enriched);
    network(&mut line, encoder, slice, enriched);
    line.text(",\"service\":{\"name\":\"");
    line.string(enriched.service);
    line.text("\"}");
    if flow::is_tcp(slice) {
        line.text(",\"tcp\":{\"flags\":");
        line.word(
            &wording::FLAGS,
            flow::low_byte(slice.forward.tcp_flags | slice.reverse.tcp_flags),
        );
        line.text("}");
    }
    if flow::is_icmp(slice.protocol) && !slice.fragment {
        line.text(",\"icmp\":{\"type\":");
        line.unsigned(initiator.port.into());
        line.text(",\"code\":");
        line.unsigned(responder.port.into());
        line.text("}");
    }
    line.text(",\"observer\":{");
    if !line.wazuh4 {
        line.text("\"name\":\"");
        line.string(&encoder.collector);
        line.text("\",");
    }
    if slice.initiator_egress {
        line.text("\"egress\":{\"interface\":{\"id\":");
    } else {
        line.text("\"ingress\":{\"interface\":{\"id\":");
    }
    line.count(slice.ifindex.into());
    line.text(",\"name\":\"");
    line.string(interface);
    line.text("\"}}}}");
    line.out.finish()
}

#[inline(always)]
fn event(line: &mut Line<'_>, encoder: &Encoder, slice: &Slice, end: &Time) {
    if line.wazuh4 {
        line.text(concat!(
            ",\"event\":{\"kind\":\"event\",\"action\":\"network_flow\",\"type\":\"network\",",
            "\"category\":\"network_traffic\",\"start\":"
        ));
    } else {
        line.text(",\"event\":{\"kind\":\"event\",\"action\":\"network_flow\",\"type\":[\"");
        if let Words::Many(types) = flow::event_type(encoder.schema, slice) {
            let mut separator = "";
            for name in types {
                line.text(separator);
                line.text(name);
                separator = "\",\"";
            }
        }
        line.text("\"],\"category\":[\"network\"],\"start\":");
    }
    Time::new(slice.start_ns, line.day).nanoseconds(&mut line.out);
    line.text(",\"end\":");
    end.nanoseconds(&mut line.out);
    line.text(",\"duration\":");
    let end_ns = slice.last_ns.max(slice.start_ns);
    if line.wazuh4 {
        number::seconds(slice.start_ns, end_ns, &mut line.out);
    } else {
        line.unsigned(end_ns - slice.start_ns);
    }
    line.text("}");
}

#[inline(always)]
fn flow_part(line: &mut Line<'_>, encoder: &Encoder, slice: &Slice, enriched: &Enriched<'_>) {
    if line.wazuh4 {
        line.text(",\"flow\":{\"protocol\":");
        line.word(&wording::PROTOCOLS, slice.protocol);
        line.word(&wording::DIRECTIONS, enriched.direction as u8);
    } else {
        line.text(",\"flow\":{\"id\":\"");
    }
    number::hexadecimal(slice.id, &mut line.out);
    line.word(&wording::OUTCOMES, slice.outcome as u8);
    if let Some(reason) = slice.end {
        line.word(&wording::END_REASONS, reason as u8);
    }
    if enriched.cast != Cast::Unicast {
        line.word(&wording::CASTS, enriched.cast as u8);
    }
    if slice.fragment {
        line.text(",\"fragment\":true");
    }
    if slice.tunnel != Tunnel::None {
        line.word(&wording::TUNNELS, slice.tunnel as u8);
        line.count(slice.tunnel_id.into());
        line.text("}");
    }
    if encoder.sampling > 1 {
        line.text(",\"sampling\":");
        line.unsigned(encoder.sampling.into());
    }
    line.word(&wording::INITIATORS, slice.basis as u8);
    if slice.forward.packets > 0 {
        line.text(",\"wire_bytes\":");
        line.party(slice, &slice.forward);
    }
    line.text("}");
    if slice.reverse.packets > 0 {
        line.text(",\"responder\":{\"wire_bytes\":");
        line.party(slice, &slice.reverse);
        line.text("}");
    }
    line.text("}");
}

#[inline(always)]
fn network(line: &mut Line<'_>, encoder: &Encoder, slice: &Slice, enriched: &Enriched<'_>) {
    line.text(",\"network\":{\"bytes\":");
    line.count(slice.l3_bytes());
    line.text(",\"packets\":");
    line.count(slice.packets());
    line.text(",\"wire_bytes\":");
    line.count(slice.wire_bytes());
    if encoder.sampling > 1 {
        let times = u64::from(encoder.sampling);
        line.text(",\"bytes_estimated\":");
        line.count(slice.l3_bytes().saturating_mul(times));
        line.text(",\"packets_estimated\":");
        line.count(slice.packets().saturating_mul(times));
    }
    line.word(&wording::NETWORK_DIRECTIONS, enriched.direction as u8);
    line.word(&wording::TRANSPORTS, slice.protocol);
    line.text(if slice.ipv6 {
        ",\"type\":\"ipv6\""
    } else {
        ",\"type\":\"ipv4\""
    });
    if let Some(community_id) = &enriched.community_id {
        line.text(",\"community_id\":\"");
        let id = community_id.as_bytes();
        line.out.cut(*id, id.len());
        line.text("\"");
    }
    if slice.vlan_id != 0 {
        line.text(",\"vlan\":{\"id\":");
        line.unsigned(slice.vlan_id.into());
        line.text("}");
    }
    line.text("}");
}

struct Line<'a> {
    out: Cursor<'a>,
    day: &'a Cell<Day>,
    wazuh4: bool,
}

/// From where to where something was written.
type Place = (usize, usize);

// All inlined, so that the cursor stays in registers.
impl Line<'_> {
    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.out.text(text);
    }

    /// Without its quotes.
    #[inline(always)]
    fn string(&mut self, text: &str) {
        let escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if text.bytes().any(escaped) {
            self.out.give_up();
        }
        self.out.text(text);
    }

    /// The text of a value of an enumeration.
    #[inline(always)]
    fn word<const N: usize, const VALUES: usize>(&mut self, words: &[Piece<N>; VALUES], value: u8) {
        if let Some(piece) = words.get(usize::from(value)) {
            self.out.piece(piece);
        }
    }

    #[inline(always)]
    fn ip(&mut self, ip: IpAddr) -> Place {
        let start = self.out.place();
        number::address(ip, &mut self.out);
        (start, self.out.place())
    }

    /// The address that was written before, if it was.
    #[inline(always)]
    fn ip_again(&mut self, before: Option<Place>, ip: IpAddr) {
        match before {
            Some((start, end)) => self.out.again::<ADDRESS>(start, end),
            None => number::address(ip, &mut self.out),
        }
    }

    #[inline(always)]
    fn unsigned(&mut self, value: u64) {
        number::unsigned(value, &mut self.out);
    }

    /// As [`super::value::Counter`].
    #[inline(always)]
    fn count(&mut self, value: u64) {
        if self.wazuh4 {
            number::wazuh4_counter(value, &mut self.out);
        } else {
            self.unsigned(value);
        }
    }

    /// What one end sent, behind its address.
    #[inline(always)]
    fn sent(&mut self, port: Option<u16>, sent: &FlowCounters) {
        if let Some(port) = port {
            self.text(",\"port\":");
            self.unsigned(port.into());
        }
        self.text(",\"bytes\":");
        self.count(sent.l3_bytes);
        self.text(",\"packets\":");
        self.count(sent.packets);
        self.text("}");
    }

    #[inline(always)]
    fn party(&mut self, slice: &Slice, sent: &FlowCounters) {
        self.count(sent.wire_bytes);
        self.text(",\"first_seconds\":");
        number::seconds(slice.start_ns, sent.first_ns, &mut self.out);
        self.text(",\"last_seconds\":");
        number::seconds(slice.start_ns, sent.last_ns, &mut self.out);
        if flow::is_tcp(slice) {
            self.text(",\"tcp\":{\"first_flags\":");
            self.word(&wording::FLAGS, sent.first_tcp_flags);
            self.text(",\"flags\":");
            self.word(&wording::FLAGS, flow::low_byte(sent.tcp_flags));
            self.text(",\"syn\":");
            self.count(sent.syn.into());
            self.text(",\"syn_ack\":");
            self.count(sent.syn_ack.into());
            self.text(",\"fin\":");
            self.count(sent.fin.into());
            self.text(",\"rst\":");
            self.count(sent.rst.into());
            self.text("}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        enrich::{CommunityId, Direction},
        flow::{EndReason, Endpoint, InitiatorBasis, Outcome},
    };

    /// Every field there, each as long as it gets.
    fn longest() -> Slice {
        let end = Endpoint {
            ip: [0xffff_u16; 8].into(),
            port: u16::MAX,
        };
        let sent = FlowCounters {
            packets: u64::MAX,
            l3_bytes: u64::MAX,
            wire_bytes: u64::MAX,
            first_ns: u64::MAX - 1,
            last_ns: u64::MAX - 2,
            first_tcp_flags: u8::MAX,
            tcp_flags: u32::MAX,
            syn: u32::MAX,
            syn_ack: u32::MAX,
            fin: u32::MAX,
            rst: u32::MAX,
            ..FlowCounters::default()
        };
        Slice {
            ifindex: u32::MAX,
            vlan_id: 4095,
            tunnel: Tunnel::Geneve,
            tunnel_id: u32::MAX,
            fragment: false,
            ipv6: true,
            protocol: 6,
            initiator: end,
            responder: end,
            basis: InitiatorBasis::TcpFlags,
            outcome: Outcome::Unanswered,
            id: u64::MAX,
            start_ns: 1,
            last_ns: u64::MAX,
            initiator_egress: true,
            forward: sent,
            reverse: sent,
            end: Some(EndReason::EndOfFlowDetected),
        }
    }

    #[test]
    fn only_what_has_to_be_escaped_is_left_to_serde() {
        let slice = longest();
        let service = "s".repeat(64);
        let enriched = Enriched {
            direction: Direction::InternalToInternal,
            cast: Cast::Multicast,
            service: &service,
            community_id: Some(CommunityId::new(6, slice.initiator, slice.responder)),
        };
        for schema in [Schema::Wazuh4, Schema::Ecs] {
            let mut config = Config::default();
            config.output.schema = schema;
            config.collector.name = "c".repeat(255);
            config.capture.sampling = u32::MAX;
            let mut encoder = Encoder::new(&config);
            encoder.mark_synthetic();
            let written = |interface: &str| write(&encoder, &slice, &enriched, interface, &mut [0; ROOM]);
            // IFNAMSIZ, with its end.
            let length = written(&"i".repeat(15));
            assert!(length.is_some_and(|length| length > ROOM / 2), "{length:?}");
            assert_eq!(written("\""), None);
            assert_eq!(written(&"i".repeat(ROOM)), None);
        }
    }
}
