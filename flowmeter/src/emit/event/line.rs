//! The flow event by hand: the same bytes as [`FlowEvent`](super::flow::FlowEvent) serialises to (a property test
//! holds the two together), without its intermediate values. Flows are nearly all of the output, and this is
//! most of what one costs.

use std::net::IpAddr;

use flowmeter_common::{FlowCounters, Tunnel, flow::tcp_flags};

use super::{
    Encoder, Labels, flow,
    number::{self, Times},
};
use crate::{
    config::Schema,
    enrich::{Cast, Enriched, protocol},
    flow::Slice,
};

/// Appends the event of one slice, without its line end.
pub(super) fn write(
    encoder: &Encoder,
    slice: &Slice,
    enriched: &Enriched<'_>,
    interface: &str,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let wazuh4 = encoder.schema == Schema::Wazuh4;
    let line = &mut Line {
        out,
        wazuh4,
        times: Times::default(),
    };
    let (initiator, responder) = (slice.initiator, slice.responder);
    let ports = flow::has_ports(slice).then_some((initiator.port, responder.port));
    line.text("{\"@timestamp\":");
    line.times.milliseconds(flow::last_packet_ns(slice), line.out);
    if wazuh4 {
        line.text(",\"netflow\":\"true\",\"srcip\":");
        line.ip(initiator.ip);
        if let Some((port, _)) = ports {
            line.text(",\"srcport\":");
            number::unsigned(port.into(), line.out);
        }
        line.text(",\"dstip\":");
        line.ip(responder.ip);
        if let Some((_, port)) = ports {
            line.text(",\"dstport\":");
            number::unsigned(port.into(), line.out);
        }
        line.text(",\"protocol\":");
        line.protocol(slice.protocol);
    }
    event(line, encoder, slice)?;
    if wazuh4 {
        line.text(",\"collector\":{\"name\":");
        line.string(&encoder.collector)?;
        line.text("}");
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
    line.side(
        ",\"source\":{\"ip\":",
        initiator.ip,
        ports.map(|(port, _)| port),
        &slice.forward,
    );
    line.side(
        ",\"destination\":{\"ip\":",
        responder.ip,
        ports.map(|(_, port)| port),
        &slice.reverse,
    );
    flow_part(line, encoder, slice, enriched);
    network(line, encoder, slice, enriched);
    line.text(",\"service\":{\"name\":");
    line.string(enriched.service)?;
    line.text("}");
    if flow::is_tcp(slice) {
        line.text(",\"tcp\":{\"flags\":");
        line.flags(flow::low_byte(slice.forward.tcp_flags | slice.reverse.tcp_flags));
        line.text("}");
    }
    if flow::is_icmp(slice.protocol) && !slice.fragment {
        line.text(",\"icmp\":{\"type\":");
        number::unsigned(initiator.port.into(), line.out);
        line.text(",\"code\":");
        number::unsigned(responder.port.into(), line.out);
        line.text("}");
    }
    line.text(",\"observer\":{");
    if !wazuh4 {
        line.text("\"name\":");
        line.string(&encoder.collector)?;
        line.text(",");
    }
    let way = if slice.initiator_egress {
        "egress"
    } else {
        "ingress"
    };
    line.text("\"");
    line.text(way);
    line.text("\":{\"interface\":{\"id\":");
    line.count(slice.ifindex.into());
    line.text(",\"name\":");
    line.string(interface)?;
    line.text("}}}}");
    Ok(())
}

fn event(line: &mut Line<'_>, encoder: &Encoder, slice: &Slice) -> serde_json::Result<()> {
    line.text(",\"event\":{\"kind\":\"event\",\"action\":\"network_flow\",\"type\":");
    if line.wazuh4 {
        line.text("\"network\",\"category\":\"network_traffic\",\"start\":");
    } else {
        serde_json::to_writer(&mut *line.out, &flow::event_type(encoder.schema, slice))?;
        line.text(",\"category\":[\"network\"],\"start\":");
    }
    line.times.nanoseconds(slice.start_ns, line.out);
    line.text(",\"end\":");
    line.times.nanoseconds(slice.last_ns, line.out);
    line.text(",\"duration\":");
    let duration_ns = slice.last_ns.saturating_sub(slice.start_ns);
    if line.wazuh4 {
        number::seconds(duration_ns.into(), line.out);
    } else {
        number::unsigned(duration_ns, line.out);
    }
    line.text("}");
    Ok(())
}

fn flow_part(line: &mut Line<'_>, encoder: &Encoder, slice: &Slice, enriched: &Enriched<'_>) {
    line.text(",\"flow\":{");
    if line.wazuh4 {
        line.text("\"protocol\":");
        line.protocol(slice.protocol);
        line.text(",\"direction\":\"");
        line.text(enriched.direction.name());
        line.text("\",");
    }
    line.text("\"id\":\"");
    number::hexadecimal(slice.id, line.out);
    line.text("\",\"outcome\":\"");
    line.text(slice.outcome.name());
    line.text("\"");
    if let Some(reason) = slice.end {
        line.text(",\"end_reason\":\"");
        line.text(reason.name());
        line.text("\"");
    }
    if enriched.cast != Cast::Unicast {
        line.text(",\"cast\":\"");
        line.text(enriched.cast.name());
        line.text("\"");
    }
    if slice.fragment {
        line.text(",\"fragment\":true");
    }
    if slice.tunnel != Tunnel::None {
        line.text(",\"tunnel\":{\"kind\":\"");
        line.text(slice.tunnel.name());
        line.text("\",\"id\":");
        line.count(slice.tunnel_id.into());
        line.text("}");
    }
    if encoder.sampling > 1 {
        line.text(",\"sampling\":");
        number::unsigned(encoder.sampling.into(), line.out);
    }
    line.text(",\"initiator\":{\"basis\":\"");
    line.text(slice.basis.name());
    line.text("\",\"confidence\":\"");
    line.text(slice.basis.confidence());
    line.text("\"");
    if slice.forward.packets > 0 {
        line.text(",");
        line.party(slice, &slice.forward);
    }
    line.text("}");
    if slice.reverse.packets > 0 {
        line.text(",\"responder\":{");
        line.party(slice, &slice.reverse);
        line.text("}");
    }
    line.text("}");
}

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
    line.text(",\"direction\":\"");
    line.text(enriched.direction.ecs_name());
    line.text("\",\"transport\":\"");
    match protocol::name(slice.protocol) {
        Some(name) => line.text(name.keyword),
        None => number::unsigned(slice.protocol.into(), line.out),
    }
    line.text("\",\"iana_number\":");
    number::unsigned(slice.protocol.into(), line.out);
    line.text(if slice.ipv6 {
        ",\"type\":\"ipv6\""
    } else {
        ",\"type\":\"ipv4\""
    });
    if let Some(community_id) = &enriched.community_id {
        line.text(",\"community_id\":\"");
        line.out.extend_from_slice(community_id.as_bytes());
        line.text("\"");
    }
    if slice.vlan_id != 0 {
        line.text(",\"vlan\":{\"id\":");
        number::unsigned(slice.vlan_id.into(), line.out);
        line.text("}");
    }
    line.text("}");
}

/// What is appended to, and how counts are written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    wazuh4: bool,
    times: Times,
}

/// The names of every union of TCP flags, and how many bytes they are.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated when compiled; eight names and commas fit"
)]
static FLAGS: [([u8; FLAGS_BYTES], u8); 256] = {
    let mut unions = [([0; FLAGS_BYTES], 0); 256];
    let mut flags = 0;
    while flags < unions.len() {
        let (text, length) = &mut unions[flags];
        let mut name = 0;
        while name < tcp_flags::NAMES.len() {
            let (bit, letters) = tcp_flags::NAMES[name];
            if flags & bit as usize != 0 {
                if *length > 0 {
                    text[*length as usize] = b',';
                    *length += 1;
                }
                let mut letter = 0;
                while letter < letters.len() {
                    text[*length as usize] = letters.as_bytes()[letter];
                    *length += 1;
                    letter += 1;
                }
            }
            name += 1;
        }
        flags += 1;
    }
    unions[0] = (*b"NONE                            ", 4);
    unions
};

/// Eight names of three letters, and commas between.
const FLAGS_BYTES: usize = 32;

impl Line<'_> {
    // Inlined, so that a constant piece is copied by a few moves.
    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// In quotes; escaped where it has to be.
    fn string(&mut self, text: &str) -> serde_json::Result<()> {
        if text
            .bytes()
            .any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
        {
            return serde_json::to_writer(&mut *self.out, text);
        }
        self.text("\"");
        self.text(text);
        self.text("\"");
        Ok(())
    }

    fn ip(&mut self, ip: IpAddr) {
        self.out.push(b'"');
        number::address(ip, self.out);
        self.out.push(b'"');
    }

    /// As [`super::value::Counter`].
    fn count(&mut self, value: u64) {
        let quoted = self.wazuh4 && value >= super::value::WAZUH_INTEGER_LIMIT;
        if quoted {
            self.out.push(b'"');
        }
        number::unsigned(value, self.out);
        if quoted {
            self.out.push(b'"');
        }
    }

    fn protocol(&mut self, number: u8) {
        self.text("\"");
        match protocol::name(number) {
            Some(name) => self.text(name.display),
            None => number::unsigned(number.into(), self.out),
        }
        self.text("\"");
    }

    fn flags(&mut self, flags: u8) {
        self.text("\"");
        if let Some((text, length)) = FLAGS.get(usize::from(flags)) {
            let end = self.out.len() + usize::from(*length);
            self.out.extend_from_slice(text);
            self.out.truncate(end);
        }
        self.text("\"");
    }

    fn side(&mut self, start: &str, ip: IpAddr, port: Option<u16>, sent: &FlowCounters) {
        self.text(start);
        self.ip(ip);
        if let Some(port) = port {
            self.text(",\"port\":");
            number::unsigned(port.into(), self.out);
        }
        self.text(",\"bytes\":");
        self.count(sent.l3_bytes);
        self.text(",\"packets\":");
        self.count(sent.packets);
        self.text("}");
    }

    fn party(&mut self, slice: &Slice, sent: &FlowCounters) {
        self.text("\"wire_bytes\":");
        self.count(sent.wire_bytes);
        for (name, at_ns) in [
            (",\"first_seconds\":", sent.first_ns),
            (",\"last_seconds\":", sent.last_ns),
        ] {
            self.text(name);
            number::seconds(i128::from(at_ns) - i128::from(slice.start_ns), self.out);
        }
        if flow::is_tcp(slice) {
            self.text(",\"tcp\":{\"first_flags\":");
            self.flags(sent.first_tcp_flags);
            self.text(",\"flags\":");
            self.flags(flow::low_byte(sent.tcp_flags));
            for (name, count) in [
                (",\"syn\":", sent.syn),
                (",\"syn_ack\":", sent.syn_ack),
                (",\"fin\":", sent.fin),
                (",\"rst\":", sent.rst),
            ] {
                self.text(name);
                self.count(count.into());
            }
            self.text("}");
        }
    }
}
