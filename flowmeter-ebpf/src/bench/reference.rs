//! The least that an exact flow meter does, as one would write it at first: addresses and ports out of fixed places,
//! one hash map, atomic adds. No VLAN, no tunnels, no extension headers, no fragments, no super-packets, no losses.
//! What the agent's programs cost is measured beside it.

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::{classifier, map, xdp},
    maps::{Array, HashMap},
    programs::{TcContext, XdpContext},
};

use crate::atomic::{add_u64, or_u32};

#[derive(Clone, Copy)]
#[repr(C)]
struct Key {
    /// IPv4 addresses are v4-mapped.
    source: [u8; 16],
    destination: [u8; 16],
    ports: [u8; 4],
    protocol: u8,
    reserved: [u8; 3],
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Counters {
    packets: u64,
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
    tcp_flags: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Key>() == 40 && size_of::<Counters>() == 40);

#[map]
static REFERENCE: HashMap<Key, Counters> = HashMap::with_max_entries(1024, 0);

/// Packets that could not be counted.
#[map]
static MISSED: Array<u64> = Array::with_max_entries(1, 0);

/// 1: the clock of the last tick, as the agent's programs take it where the kernel has it.
#[unsafe(no_mangle)]
static COARSE: Global<u8> = Global::new(0);

#[xdp(frags)]
fn reference_xdp(ctx: XdpContext) -> u32 {
    count(ctx.data(), ctx.data_end(), (ctx.data_end() - ctx.data()) as u64);
    XDP_PASS
}

#[classifier]
fn reference_tc(ctx: TcContext) -> i32 {
    count(ctx.data(), ctx.data_end(), u64::from(ctx.len()));
    TC_ACT_UNSPEC
}

/// What attaching a program costs before it does anything.
#[xdp(frags)]
fn empty_xdp(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[classifier]
fn empty_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[inline(always)]
fn count(start: usize, end: usize, length: u64) {
    match parse(start, end) {
        Some((key, tcp_flags)) => add(&key, length, tcp_flags),
        None => miss(),
    }
}

#[inline(always)]
fn parse(start: usize, end: usize) -> Option<(Key, u8)> {
    let mut key = Key {
        source: [0; 16],
        destination: [0; 16],
        ports: [0; 4],
        protocol: 0,
        reserved: [0; 3],
    };
    let transport = match load::<2>(start + 12, end)? {
        [0x08, 0x00] => {
            let [version_length] = load::<1>(start + 14, end)?;
            [key.protocol] = load::<1>(start + 23, end)?;
            key.source[10..12].copy_from_slice(&[0xff; 2]);
            key.destination[10..12].copy_from_slice(&[0xff; 2]);
            key.source[12..].copy_from_slice(&load::<4>(start + 26, end)?);
            key.destination[12..].copy_from_slice(&load::<4>(start + 30, end)?);
            start + 14 + usize::from(version_length & 15) * 4
        }
        [0x86, 0xdd] => {
            [key.protocol] = load::<1>(start + 20, end)?;
            key.source = load(start + 22, end)?;
            key.destination = load(start + 38, end)?;
            start + 54
        }
        _ => return None,
    };
    let mut tcp_flags = 0;
    if matches!(key.protocol, 6 | 17) {
        key.ports = load(transport, end)?;
        if key.protocol == 6 {
            [tcp_flags] = load(transport + 13, end)?;
        }
    }
    Some((key, tcp_flags))
}

#[inline(always)]
fn load<const N: usize>(at: usize, end: usize) -> Option<[u8; N]> {
    if at + N > end {
        return None;
    }
    // SAFETY: `at .. at + N` was just checked to lie inside the packet; the type has no alignment.
    Some(unsafe { core::ptr::read_unaligned(at as *const [u8; N]) })
}

#[inline(always)]
fn add(key: &Key, bytes: u64, tcp_flags: u8) {
    let now_ns = if COARSE.load() != 0 {
        // SAFETY: the helper takes nothing and returns a time.
        unsafe { bpf_ktime_get_coarse_ns() }
    } else {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    };
    let counters = match REFERENCE.get_ptr_mut(key) {
        Some(counters) => counters,
        None => {
            let first = Counters {
                packets: 1,
                bytes,
                first_ns: now_ns,
                last_ns: now_ns,
                tcp_flags: u32::from(tcp_flags),
                reserved: 0,
            };
            if REFERENCE.insert(key, first, u64::from(BPF_NOEXIST)).is_ok() {
                return;
            }
            // Another CPU was first, or the map is full.
            match REFERENCE.get_ptr_mut(key) {
                Some(counters) => counters,
                None => return miss(),
            }
        }
    };
    // SAFETY: a live map value; aligned fields, changed atomically or, for the time, by one store.
    unsafe {
        add_u64(&raw mut (*counters).packets, 1);
        add_u64(&raw mut (*counters).bytes, bytes);
        core::ptr::write_volatile(&raw mut (*counters).last_ns, now_ns);
        let union = &raw mut (*counters).tcp_flags;
        if u32::from(tcp_flags) & !core::ptr::read_volatile(union) != 0 {
            or_u32(union, u32::from(tcp_flags));
        }
    }
}

#[inline(never)]
fn miss() {
    if let Some(missed) = MISSED.get_ptr_mut(0) {
        // SAFETY: a live map value, changed atomically.
        unsafe { add_u64(missed, 1) };
    }
}
