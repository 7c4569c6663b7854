//! The wait between flip and read. Between the moment when a program has found a flow's entry and the moment when
//! it has added to it, the entry must not be read and deleted.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use flowmeter::{config::Capture, flow::Batch};
use nix::{
    sys::{
        time::{TimeSpec, TimeValLike as _},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId as Clock, clock_gettime},
};

use crate::{frames, network::pin, programs, support::root_or_skip};

/// It lasts until both are over.
const LASTS: Duration = Duration::from_secs(2);
const DRAINS: u32 = 50;
/// Runs of the program with one system call: about half a millisecond.
const REPEAT: u32 = 2_000;
/// Timers that end in one interrupt, which so holds up the program for longer than a drain takes that does not
/// wait.
const TIMERS: usize = 400;

/// Packets without end on one CPU, drains without end on the other. Interrupts, which can hold up a program
/// between any two instructions, are made so long and so frequent that a drain which does not wait for held up
/// programs loses packets hundreds of times.
#[test]
fn a_drain_waits_for_programs_that_are_held_up() {
    if !root_or_skip("a_drain_waits_for_programs_that_are_held_up") {
        return;
    }
    let capture = Capture {
        max_flows: 1024,
        ..Capture::default()
    };
    let (ebpf, mut drain) = programs::loaded(&capture);
    let program = ebpf.program("flowmeter_in").unwrap();
    let frame = frames::ethernet(0x0800, &frames::ipv4(17, &frames::udp(40000, 53, &[0; 64])));
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut batch, mut drains) = (Batch::default(), 0);
    let end = Instant::now() + LASTS;
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            let timers: Vec<_> = (0..TIMERS)
                .map(|_| TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).unwrap())
                .collect();
            while !stop.load(Ordering::Relaxed) {
                let now = clock_gettime(Clock::CLOCK_MONOTONIC).unwrap();
                let soon = Expiration::OneShot(now + TimeSpec::microseconds(400));
                for timer in &timers {
                    timer.set(soon, TimerSetTimeFlags::TFD_TIMER_ABSTIME).unwrap();
                }
                programs::run(program, &frame, REPEAT);
                sent.fetch_add(u64::from(REPEAT), Ordering::Relaxed);
            }
        });
        pin(0);
        while Instant::now() < end || drains < DRAINS {
            drain.drain(&mut batch).unwrap();
            drains += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    for _generation in 0..2 {
        drain.drain(&mut batch).unwrap();
    }
    let counted: u64 = batch.records.iter().map(|record| record.counters.packets).sum();
    let seen: u64 = batch
        .interfaces
        .iter()
        .map(|interface| interface.counters.seen.packets)
        .sum();
    let sent = sent.into_inner();
    println!("{sent} packets, {drains} drains, {} lost", sent - counted);
    assert_eq!((counted, seen), (sent, sent), "after {drains} drains");
}
