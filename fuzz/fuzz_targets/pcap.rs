//! The capture reader on hostile bytes, and what is behind it up to intervals.
#![no_main]

use std::{io::Cursor, time::Duration};

use flowmeter::capture::replay::CaptureSource;
use libfuzzer_sys::fuzz_target;

#[path = "../replayed.rs"]
mod replayed;
#[path = "../seeds.rs"]
mod seeds;

fuzz_target!(init: seeds::write(seeds::captures), |data: &[u8]| {
    let source = || Box::new(CaptureSource::new("capture", Cursor::new(data.to_vec())));
    let (once, _) = replayed::intervals(source(), Duration::from_secs(10));
    let (again, _) = replayed::intervals(source(), Duration::from_secs(10));
    assert_eq!(format!("{once:?}"), format!("{again:?}"), "the same bytes, another answer");
});
