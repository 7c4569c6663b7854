//! The agent's programs over another flow table, to measure the table: entry points and accounting are the agent's
//! own files, only the maps are others.

#![no_std]
#![no_main]
#![expect(internal_features, reason = "see the agent's main.rs")]
#![feature(core_intrinsics, adt_const_params)]

#[path = "../account.rs"]
mod account;
#[path = "../atomic.rs"]
mod atomic;
#[path = "../frame.rs"]
mod frame;
#[path = "own_table/maps.rs"]
mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

#[xdp(frags)]
fn flowmeter_xdp(ctx: XdpContext) -> u32 {
    account::xdp(&ctx);
    XDP_PASS
}

#[classifier]
fn flowmeter_in(ctx: TcContext) -> i32 {
    account::tc::<true>(&ctx, false);
    TC_ACT_UNSPEC
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
