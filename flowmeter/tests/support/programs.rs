//! The kernel programs in the test's own process.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use aya::{
    Ebpf,
    programs::{Program, TestRun as _, TestRunOptions},
};
use flowmeter::{
    capture::{drain::Drain, features::Features, programs},
    config::Capture,
};

/// All programs loaded, none attached.
pub(crate) fn loaded(capture: &Capture) -> (Ebpf, Drain) {
    let features = Features::probe().expect("root may ask the kernel");
    let mut ebpf = programs::load(capture, &features, log::LevelFilter::Info).expect("the programs load");
    for (name, program) in ebpf.programs_mut() {
        match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            other => panic!("{name} is {other:?}"),
        }
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let drain = Drain::new(&mut ebpf, programs::table_size(capture)).expect("the maps are there");
    (ebpf, drain)
}

/// Runs a program on `frame`, as often as `repeat` says.
pub(crate) fn run(program: &Program, frame: &[u8], repeat: u32) {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::new()
    };
    match program {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        other => panic!("{other:?}"),
    }
    .unwrap_or_else(|error| panic!("running a program: {error}"));
}
