//! Programs for `cargo xtask bench`: the packet generator, and the least that a flow meter can do, to measure the
//! agent's programs by. No part of the agent.

#![no_std]
#![no_main]
#![expect(
    internal_features,
    reason = "atomic adds on map memory, as in the agent's programs"
)]
#![feature(core_intrinsics, adt_const_params)]

#[path = "../atomic.rs"]
#[expect(dead_code, reason = "what the agent's programs need beside this")]
mod atomic;
mod generate;
mod reference;
mod traffic;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
