//! The reader of pmacct's lines on hostile bytes.
#![no_main]

use flowmeter::capture::{log::PmacctParser, problem::TimeFrom};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

#[path = "../replayed.rs"]
mod replayed;
#[path = "../seeds.rs"]
mod seeds;

fuzz_target!(init: seeds::write(seeds::pmacct), |data: &[u8]| {
    replayed::log(data, || PmacctParser::new(1_777_203_920_000_000_000, TimeFrom::Given, TimeZone::UTC), false);
});
