//! The packet generator: an XDP program that the kernel runs on frames of its own (`BPF_PROG_TEST_RUN` with
//! `BPF_F_TEST_XDP_LIVE_FRAMES`, kernel 5.18). Each run writes the next packet of the traffic into its frame and
//! sends the frame out.

use aya_ebpf::{
    Global,
    bindings::xdp_action::XDP_DROP,
    helpers::generated::{bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_tail},
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};

use crate::traffic::{DESTINATION_V6, ETHERNET, Flow, IPV4, IPV6, ORDERS, SMALL, SOURCE_V6, Traffic, UDP};

#[unsafe(no_mangle)]
static TRAFFIC: Global<Traffic> = Global::new(Traffic {
    flows: 1,
    first_flow: 0,
    rounds: 0,
    ifindex: 0,
    steps: [1; ORDERS],
    pause_ps: 0,
    ipv6: 0,
    sizes: SMALL,
});

/// Where in the traffic the generator is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Position {
    sent: u64,
    /// When the first packet was due.
    start_ns: u64,
    /// Frames that could not be written; whoever reads this throws the run away.
    failed: u64,
    round: u32,
    /// Flows visited in this round.
    visited: u32,
    /// The next flow, less the first.
    flow: u32,
    reserved: u32,
}

#[map]
static POSITION: Array<Position> = Array::with_max_entries(1, 0);

/// Behind a pause that was longer than this (another process had the CPU) the schedule moves on: no burst makes
/// up for it.
const LATE_NS: u64 = 200_000;

#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    let traffic = TRAFFIC.load();
    let Some(position) = POSITION.get_ptr_mut(0) else {
        return XDP_DROP;
    };
    // SAFETY: a live map value; one thread runs the generator.
    let position = unsafe { &mut *position };
    if position.round >= traffic.rounds || !due(&traffic, position) {
        return XDP_DROP;
    }
    let flow = traffic.flow(traffic.first_flow + position.flow);
    if !write(&ctx, &traffic, &flow) {
        position.failed += 1;
        return XDP_DROP;
    }
    advance(&traffic, position);
    // SAFETY: the helper takes plain numbers; where the interface is unknown the kernel drops the frame.
    unsafe { bpf_redirect(traffic.ifindex, 0) as u32 }
}

#[inline(always)]
fn due(traffic: &Traffic, position: &mut Position) -> bool {
    if traffic.pause_ps == 0 {
        return true;
    }
    // SAFETY: the helper takes nothing and returns a time.
    let now = unsafe { bpf_ktime_get_ns() };
    if position.start_ns == 0 {
        position.start_ns = now;
    }
    let due = position.start_ns + position.sent * traffic.pause_ps / 1000;
    if now > due + LATE_NS {
        position.start_ns += now - due;
    }
    now >= due
}

#[inline(always)]
fn advance(traffic: &Traffic, position: &mut Position) {
    position.sent += 1;
    position.visited += 1;
    if position.visited >= traffic.flows {
        position.visited = 0;
        position.round += 1;
        return;
    }
    let step = traffic.steps[position.round as usize % ORDERS];
    position.flow += step;
    if position.flow >= traffic.flows {
        position.flow -= traffic.flows;
    }
}

#[inline(always)]
fn write(ctx: &XdpContext, traffic: &Traffic, flow: &Flow) -> bool {
    let written = if traffic.ipv6 != 0 {
        ipv6(ctx, flow)
    } else {
        ipv4(ctx, flow)
    };
    let cut = flow.frame_length as i32 - traffic.longest_frame() as i32;
    // SAFETY: the context is the program's own; it is not used again after this.
    written.is_some() && (cut == 0 || unsafe { bpf_xdp_adjust_tail(ctx.ctx, cut) } == 0)
}

/// Addresses, ports and lengths; the rest stands in the frame that the generator was given.
#[inline(always)]
fn ipv4(ctx: &XdpContext, flow: &Flow) -> Option<()> {
    const AT: usize = ETHERNET as usize;
    let total_length = flow.frame_length - ETHERNET;
    let words = |address: u32| (address >> 16) + (address & 0xffff);
    // RFC 1071, over the words that are not 0: version and length, total length, TTL and protocol, addresses.
    let sum = 0x4500 + total_length + 0x4011 + words(flow.source) + words(flow.destination);
    let sum = words(words(sum));
    store(ctx, AT + 2, (total_length as u16).to_be_bytes())?;
    store(ctx, AT + 10, (!sum as u16).to_be_bytes())?;
    store(ctx, AT + 12, flow.source.to_be_bytes())?;
    store(ctx, AT + 16, flow.destination.to_be_bytes())?;
    udp(ctx, AT + IPV4 as usize, flow, total_length - IPV4)
}

#[inline(always)]
fn ipv6(ctx: &XdpContext, flow: &Flow) -> Option<()> {
    const AT: usize = ETHERNET as usize;
    let payload_length = flow.frame_length - ETHERNET - IPV6;
    store(ctx, AT + 4, (payload_length as u16).to_be_bytes())?;
    for (index, word) in SOURCE_V6.into_iter().chain([flow.source]).enumerate() {
        store(ctx, AT + 8 + index * 4, word.to_be_bytes())?;
    }
    for (index, word) in DESTINATION_V6.into_iter().chain([flow.destination]).enumerate() {
        store(ctx, AT + 24 + index * 4, word.to_be_bytes())?;
    }
    udp(ctx, AT + IPV6 as usize, flow, payload_length)
}

#[inline(always)]
fn udp(ctx: &XdpContext, at: usize, flow: &Flow, length: u32) -> Option<()> {
    const _: () = assert!(UDP == 8);
    store(ctx, at, flow.source_port.to_be_bytes())?;
    store(ctx, at + 2, flow.destination_port.to_be_bytes())?;
    store(ctx, at + 4, (length as u16).to_be_bytes())
}

#[inline(always)]
fn store<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    let at = ctx.data() + offset;
    if at + N > ctx.data_end() {
        return None;
    }
    // SAFETY: `at .. at + N` was just checked to lie inside the packet; the type has no alignment.
    unsafe { core::ptr::write_unaligned(at as *mut [u8; N], bytes) };
    Some(())
}
