//! Programs for `cargo xtask bench`: the packet generator, and the least that a flow meter can do, to measure the
//! agent's programs by. No part of the agent.

#![no_std]
#![no_main]

mod generate;
mod traffic;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
