//! One packet to its counters. The order of decisions, which replay follows too: parse, sizes, sampling,
//! filter, count.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::generated::{
        bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_xdp_get_buff_len,
    },
    maps::lpm_trie::Key,
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::{
    macro_support::{Level, level_enabled},
    trace,
};
use flowmeter_common::{
    FlowCounters, FlowKey, Gso, InterfaceCounters, InterfaceSlot, KeyFlags, Link, Packet, Sizes,
    SpillCounters, SpillKey, Uncounted,
    flow::{flag_count, tcp_flags},
    parse::{Inside, MAX_TUNNELS, Network, adopt, find_network, find_tunnel, parse_network},
};

use crate::{
    atomic::{add_u32, add_u64, fetch_add_u64, or_u32},
    frame::{Linear, Paged},
    maps::{
        ALLOW, COARSE_CLOCK, DENY, FILL_NOTICE, FILTER, FILTER_MODE, GENERATION, INSERTED, INTERFACES,
        NOTICES, SAMPLING, SCRATCH, SPILL, TUNNELS_INNER,
    },
    table::{self, E2BIG, EEXIST, Place},
};

/// Where and how long: what the hook knows about a frame beside its bytes.
struct Observed {
    ifindex: u32,
    egress: bool,
    frame_length: u32,
    /// VLAN tag that the hook shows beside the data: its id and length, both 0 if there is none.
    vlan_id: u16,
    tag_length: u32,
    gso: Gso,
}

#[inline(always)]
pub(crate) fn xdp(ctx: &XdpContext) {
    let frame = Linear::of_xdp(ctx);
    let observed = Observed {
        ifindex: ctx.ingress_ifindex() as u32,
        egress: false,
        // SAFETY: the context is the program's own. The length of all buffers of a jumbo frame, not just of
        // the first one.
        frame_length: unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32,
        vlan_id: 0,
        tag_length: 0,
        gso: Gso::default(),
    };
    let Some(scratch) = Scratch::of_this_cpu() else {
        return;
    };
    let parsed = look::<_, true>(&frame, false, scratch);
    account(ctx, parsed, &mut scratch.packet, observed);
}

#[inline(always)]
pub(crate) fn tc<const ETHERNET: bool>(ctx: &TcContext, egress: bool) {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel lends a valid context; the verifier checks each field access.
    let (ifindex, vlan_present, vlan_tci, segments, size) = unsafe {
        (
            (*skb).ifindex,
            (*skb).vlan_present,
            (*skb).vlan_tci,
            (*skb).gso_segs,
            (*skb).gso_size,
        )
    };
    let frame_length = ctx.len();
    let frame = Linear::of_skb(ctx);
    let Some(scratch) = Scratch::of_this_cpu() else {
        return;
    };
    let mut parsed = look::<_, ETHERNET>(&frame, size != 0, scratch);
    if parsed == Err(Uncounted::Truncated) && frame.len() < frame_length as usize {
        parsed = look::<_, ETHERNET>(&Paged(ctx), size != 0, scratch);
    }
    let tagged = vlan_present != 0;
    let observed = Observed {
        ifindex,
        egress,
        frame_length,
        vlan_id: if tagged { vlan_tci as u16 & 0x0fff } else { 0 },
        tag_length: if tagged { 4 } else { 0 },
        gso: Gso {
            segments,
            size,
            payload_offset: scratch.inside.payload_offset,
        },
    };
    account(ctx, parsed, &mut scratch.packet, observed);
}

/// Where a program keeps what it parsed. In a map rather than on the stack, which is small, and because the
/// verifier does not follow the values in it: paths that differ only in what was parsed are checked once.
#[repr(C)]
pub(crate) struct Scratch {
    network: Network,
    packet: Packet,
    /// The innermost packet that could be read, where it was looked for.
    inside: Packet,
    candidate: Packet,
    tunnel: Inside,
}

impl Scratch {
    #[inline(always)]
    fn of_this_cpu() -> Option<&'static mut Self> {
        // SAFETY: a live map value of this CPU, on which no other program of ours runs before this one ends.
        SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
    }
}

/// Parses, and finds where the headers end that every segment of a super-packet repeats: behind the
/// innermost transport header, also where the outer flow is what is counted.
///
/// Not inlined, as the rare paths below: a BPF program has 512 bytes of stack, and a function of its own gives
/// its part back.
#[inline(never)]
fn look<F: flowmeter_common::Frame, const ETHERNET: bool>(
    frame: &F,
    super_packet: bool,
    scratch: &mut Scratch,
) -> Result<(), Uncounted> {
    scratch.inside.payload_offset = 0;
    locate::<_, ETHERNET>(frame, scratch)?;
    parse_network(frame, &scratch.network, &mut scratch.packet)?;
    let inner = TUNNELS_INNER.load() != 0;
    if inner || super_packet {
        scratch.inside = scratch.packet;
        for _ in 0..MAX_TUNNELS {
            if !(find(frame, scratch) && locate_inside(frame, scratch) && parse_inside(frame, scratch)) {
                break;
            }
        }
        if inner {
            scratch.packet = scratch.inside;
        }
    }
    Ok(())
}

#[inline(never)]
fn locate<F: flowmeter_common::Frame, const ETHERNET: bool>(
    frame: &F,
    scratch: &mut Scratch,
) -> Result<(), Uncounted> {
    let link = if ETHERNET { Link::Ethernet } else { Link::Ip };
    find_network(frame, link, &mut scratch.network)
}

#[inline(never)]
fn locate_inside<F: flowmeter_common::Frame>(frame: &F, scratch: &mut Scratch) -> bool {
    find_network(frame, scratch.tunnel.link(), &mut scratch.network).is_ok()
}

#[inline(never)]
fn find<F: flowmeter_common::Frame>(frame: &F, scratch: &mut Scratch) -> bool {
    find_tunnel(frame, &scratch.inside, &mut scratch.tunnel)
}

#[inline(never)]
fn parse_inside<F: flowmeter_common::Frame>(frame: &F, scratch: &mut Scratch) -> bool {
    parse_network(frame, &scratch.network, &mut scratch.candidate).is_ok()
        && adopt(&mut scratch.inside, &scratch.candidate, &scratch.tunnel)
}

#[inline(always)]
fn account<C: EbpfContext>(ctx: &C, parsed: Result<(), Uncounted>, packet: &mut Packet, observed: Observed) {
    let Some(generation) = GENERATION.get(0) else {
        return;
    };
    // SAFETY: a live map value. Read once a packet: all that one packet changes is in one generation.
    let generation = unsafe { core::ptr::read_volatile(generation) } & 1;
    let Some(interface) = interface_counters(observed.ifindex, generation) else {
        return;
    };

    let sizes = match parsed {
        Ok(()) => packet.sizes(observed.frame_length, observed.tag_length, observed.gso),
        Err(reason) => Err(reason),
    };
    let (wire, outcome) = match sizes {
        Ok(sizes) => {
            packet.key.ifindex = observed.ifindex;
            if observed.egress {
                packet.key.flags = KeyFlags(packet.key.flags.0 | KeyFlags::EGRESS);
            }
            // A priority tag names no VLAN: then a tag behind it does, as the parser would have it.
            if observed.vlan_id != 0 {
                packet.key.vlan_id = observed.vlan_id;
            }
            (sizes, admit_and_count(generation, packet, sizes))
        }
        Err(reason) => {
            let packets = observed.gso.count(observed.frame_length);
            let wire_bytes =
                u64::from(observed.frame_length) + u64::from(packets) * u64::from(observed.tag_length);
            (
                Sizes {
                    packets,
                    l3_bytes: 0,
                    wire_bytes,
                },
                Err(reason),
            )
        }
    };
    // SAFETY: the entry of this CPU in a live map value; programs of one CPU do not interrupt each other.
    unsafe {
        (*interface).seen.packets += u64::from(wire.packets);
        (*interface).seen.wire_bytes += wire.wire_bytes;
    }
    if let Err(reason) = outcome {
        let index = reason as usize & (Uncounted::COUNT - 1);
        // SAFETY: as above; the mask keeps the index within the array.
        unsafe {
            let uncounted = (&raw mut (*interface).uncounted)
                .cast::<flowmeter_common::Count>()
                .add(index);
            (*uncounted).packets += u64::from(wire.packets);
            (*uncounted).wire_bytes += wire.wire_bytes;
        }
        log_uncounted(ctx, reason, observed.ifindex, observed.frame_length, packet);
    }
}

/// With the log level below trace, which is set before the programs are loaded, nothing of this is left.
#[inline(always)]
fn log_uncounted<C: EbpfContext>(
    ctx: &C,
    reason: Uncounted,
    ifindex: u32,
    frame_length: u32,
    packet: &Packet,
) {
    if level_enabled(Level::Trace) {
        trace!(
            ctx,
            "interface {}: frame of {} bytes not counted: {} (protocol {}, ports {} and {})",
            ifindex,
            frame_length,
            reason.name(),
            packet.key.protocol,
            packet.key.source_port,
            packet.key.destination_port
        );
    }
}

#[inline(always)]
fn interface_counters(ifindex: u32, generation: u32) -> Option<*mut InterfaceCounters> {
    let slot = InterfaceSlot::places(ifindex)
        .find_map(|place| {
            let slot = INTERFACES.get_ptr_mut(place)?;
            // SAFETY: a live map value; the agent changes the index only while nothing is attached to the interface.
            (unsafe { (*slot).ifindex } == ifindex).then_some(slot)
        })
        .or_else(|| INTERFACES.get_ptr_mut(0))?;
    // SAFETY: as above; the generation is 0 or 1.
    Some(unsafe {
        (&raw mut (*slot).generations)
            .cast::<InterfaceCounters>()
            .add(generation as usize)
    })
}

#[inline(always)]
fn admit_and_count(generation: u32, packet: &Packet, sizes: Sizes) -> Result<(), Uncounted> {
    let sampling = SAMPLING.load();
    // SAFETY: the helper takes nothing and returns a number.
    if sampling > 1 && unsafe { bpf_get_prandom_u32() } % sampling != 0 {
        return Err(Uncounted::SampledOut);
    }
    if FILTER_MODE.load() != 0 && !admitted(&packet.key) {
        return Err(Uncounted::Filtered);
    }
    let now_ns = if COARSE_CLOCK.load() != 0 {
        // SAFETY: the helper takes nothing and returns a time.
        unsafe { bpf_ktime_get_coarse_ns() }
    } else {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    };
    let place = Place::of(generation, &packet.key);
    match table::find(generation, place, &packet.key) {
        Some(counters) => {
            add(counters, packet.tcp_flags, sizes, now_ns);
            Ok(())
        }
        None => match insert(generation, place, packet, &sizes, now_ns) {
            0 => Ok(()),
            // Not in `insert`: each function that is under way takes of the 512 bytes of stack.
            E2BIG => {
                spill(generation, packet, &sizes);
                Err(Uncounted::MapFull)
            }
            _ => Err(Uncounted::InsertFailed),
        },
    }
}

/// An end under a `deny` prefix keeps the packet out; without such an end, an `allow` list (if there is one)
/// must hold one of the ends. The longest prefix decides for each end.
#[inline(never)]
fn admitted(key: &FlowKey) -> bool {
    let source = verdict(key.source);
    let destination = verdict(key.destination);
    if source == DENY || destination == DENY {
        return false;
    }
    FILTER_MODE.load() == 1 || source == ALLOW || destination == ALLOW
}

#[inline(always)]
fn verdict(address: [u8; 16]) -> u8 {
    FILTER.get(Key::new(128, address)).copied().unwrap_or(0)
}

/// A key's first packet. 0, or the error number of the table.
#[inline(never)]
fn insert(generation: u32, place: Place, packet: &Packet, sizes: &Sizes, now_ns: u64) -> i32 {
    let first = FlowCounters::first(*sizes, packet.tcp_flags, now_ns);
    match table::insert(generation, place, &packet.key, &first) {
        Ok(()) => {
            tell_fill(generation);
            0
        }
        Err(EEXIST) => {
            // Another CPU was first; its entry stays until the next generation.
            let Some(counters) = table::find(generation, place, &packet.key) else {
                return EEXIST;
            };
            add(counters, packet.tcp_flags, *sizes, now_ns);
            0
        }
        Err(other) => other,
    }
}

#[inline(always)]
fn add(counters: *mut FlowCounters, flags: u8, sizes: Sizes, now_ns: u64) {
    use tcp_flags::{ACK, FIN, RST, SYN};
    // SAFETY: a live map value that is not deleted before the grace period after the next flip; each field
    // is aligned and is changed atomically or, for the time, by a plain store of one word.
    unsafe {
        add_u64(&raw mut (*counters).packets, u64::from(sizes.packets));
        add_u64(&raw mut (*counters).l3_bytes, sizes.l3_bytes);
        add_u64(&raw mut (*counters).wire_bytes, sizes.wire_bytes);
        let last = &raw mut (*counters).last_ns;
        if core::ptr::read_volatile(last) < now_ns {
            core::ptr::write_volatile(last, now_ns);
        }
        let union = &raw mut (*counters).tcp_flags;
        if u32::from(flags) & !core::ptr::read_volatile(union) != 0 {
            or_u32(union, u32::from(flags));
        }
        if flags & (SYN | FIN | RST) != 0 {
            add_u32(&raw mut (*counters).syn, flag_count(flags, SYN, ACK));
            add_u32(&raw mut (*counters).syn_ack, flag_count(flags, SYN | ACK, 0));
            add_u32(&raw mut (*counters).fin, flag_count(flags, FIN, 0));
            add_u32(&raw mut (*counters).rst, flag_count(flags, RST, 0));
        }
    }
}

/// Wakes the agent when the generation gets full, once.
#[inline(always)]
fn tell_fill(generation: u32) {
    let Some(inserted) = INSERTED.get_ptr_mut(generation) else {
        return;
    };
    // SAFETY: a live map value, aligned.
    let before = unsafe { fetch_add_u64(inserted, 1) };
    if before + 1 == FILL_NOTICE.load() {
        // A notice that finds no room is behind one that the agent has not read yet: it will drain anyway.
        let _ = NOTICES.output::<u64>(u64::from(generation), 0);
    }
}

/// Keeps what found no room apart by source prefix and protocol. Where this map is full too, the packet
/// still stands in the interface's losses.
#[inline(never)]
fn spill(generation: u32, packet: &Packet, sizes: &Sizes) {
    let ipv6 = packet.key.flags.ipv6();
    let key = SpillKey {
        source_prefix: SpillKey::prefix(packet.key.source, ipv6),
        ifindex: packet.key.ifindex,
        generation,
        protocol: packet.key.protocol,
        ipv6: u8::from(ipv6),
        reserved: [0; 2],
    };
    let syn = u64::from(flag_count(packet.tcp_flags, tcp_flags::SYN, tcp_flags::ACK));
    if let Some(counters) = SPILL.get_ptr_mut(key) {
        add_spill(counters, sizes, syn);
        return;
    }
    let first = SpillCounters {
        packets: u64::from(sizes.packets),
        l3_bytes: sizes.l3_bytes,
        syn,
        destination: packet.key.destination,
        destination_port: packet.key.destination_port,
        reserved: [0; 6],
    };
    if SPILL.insert(key, first, u64::from(BPF_NOEXIST)) == Err(EEXIST)
        && let Some(counters) = SPILL.get_ptr_mut(key)
    {
        add_spill(counters, sizes, syn);
    }
}

#[inline(always)]
fn add_spill(counters: *mut SpillCounters, sizes: &Sizes, syn: u64) {
    // SAFETY: a live map value; aligned fields, changed atomically.
    unsafe {
        add_u64(&raw mut (*counters).packets, u64::from(sizes.packets));
        add_u64(&raw mut (*counters).l3_bytes, sizes.l3_bytes);
        add_u64(&raw mut (*counters).syn, syn);
    }
}
