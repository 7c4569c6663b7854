//! The kernel programs: XDP and TC entry points around one accounting routine ([`account`]).
//!
//! A meter only looks: every program lets the packet pass on every path, except `xdp_drop`, which an operator
//! asks for by name on a dedicated mirror port.

#![no_std]
#![no_main]
// Atomic adds and ors on map memory: the BPF target has no compare-and-swap, so `core::sync::atomic` lacks
// `fetch_add` on it, while the intrinsics compile to the one instruction that the kernel offers.
#![expect(internal_features, reason = "see above")]
#![feature(core_intrinsics, adt_const_params)]

mod account;
mod atomic;
mod frame;
mod maps;
mod table;

use aya_ebpf::{
    bindings::{
        TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// Ingress of a NIC whose driver runs XDP.
#[xdp(frags)]
fn flowmeter_xdp(ctx: XdpContext) -> u32 {
    account::xdp(&ctx);
    XDP_PASS
}

/// The same on a dedicated mirror port: nobody else wants the frame, so the driver frees it at once.
#[xdp(frags)]
fn flowmeter_xdrop(ctx: XdpContext) -> u32 {
    account::xdp(&ctx);
    XDP_DROP
}

#[classifier]
fn flowmeter_in(ctx: TcContext) -> i32 {
    account::tc::<true>(&ctx, false);
    UNSPEC
}

#[classifier]
fn flowmeter_out(ctx: TcContext) -> i32 {
    account::tc::<true>(&ctx, true);
    UNSPEC
}

/// For devices without an L2 header (tun, WireGuard, PPP): the data starts at the IP header.
#[classifier]
fn flowmeter_in_l3(ctx: TcContext) -> i32 {
    account::tc::<false>(&ctx, false);
    UNSPEC
}

#[classifier]
fn flowmeter_outl3(ctx: TcContext) -> i32 {
    account::tc::<false>(&ctx, true);
    UNSPEC
}

/// "No opinion": the next program or filter decides, as if this one were not there. TCX knows it as
/// `TCX_NEXT` (-1), clsact as `TC_ACT_UNSPEC` (-1).
const UNSPEC: i32 = TC_ACT_UNSPEC;

// The kernel lends several helpers to programs under a GPL-compatible licence only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
