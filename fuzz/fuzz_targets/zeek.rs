//! The reader of Zeek's connections on hostile bytes.
#![no_main]

use flowmeter::capture::log::ZeekParser;
use libfuzzer_sys::fuzz_target;

#[path = "../replayed.rs"]
mod replayed;
#[path = "../seeds.rs"]
mod seeds;

fuzz_target!(init: seeds::write(seeds::zeek), |data: &[u8]| {
    // A header holds for the lines behind it.
    replayed::log(data, ZeekParser::new, data.contains(&b'#'));
});
