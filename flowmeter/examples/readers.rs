//! How fast files are read, on one core: `cargo run --release --example readers [LINES [FORMAT]]`.
//!
//! Each format's lines are made here, 100,000 flows over and over, and read from memory: to flow records
//! (`read`), and on to intervals of 10 s (`replay`). The last column compares with serde_json's borrowed
//! parsing of the same lines into nothing, and with looking for line ends.

use std::{env, fmt::Write as _, io::Cursor, time::Duration};

use flowmeter::{
    capture::{
        log::{EventParser, LogSource, Parser, PmacctParser, ZeekParser},
        problem::TimeFrom,
        replay::{Replay, Source},
    },
    config::Tunnels,
};
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};

const FLOWS: u64 = 100_000;
/// Lines a second of event time.
const RATE: u64 = 1_000;
const START: u64 = 1_777_203_920;
const ROUNDS: usize = 3;

struct Line {
    second: u64,
    microsecond: u64,
    source: [u8; 2],
    destination: [u8; 2],
    port: u64,
    packets: u64,
}

impl Line {
    fn new(number: u64) -> Self {
        // Weyl's sequence, mixed: the same on every run.
        let flow = number % FLOWS;
        let mixed = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ flow;
        let [a, b, c, d, ..] = mixed.to_le_bytes();
        Self {
            second: START + number / RATE,
            microsecond: number % RATE * 1000 + mixed % 1000,
            source: [a, b],
            destination: [c, d],
            port: 32768 + flow % 28_000,
            packets: 1 + mixed % 30,
        }
    }
}

fn pmacct(text: &mut String, number: u64) {
    let Line {
        second,
        microsecond,
        source: [a, b],
        destination: [c, d],
        port,
        packets,
    } = Line::new(number);
    let time = jiff::Timestamp::from_second(i64::try_from(second).unwrap_or_default()).unwrap_or_default();
    let time = time.strftime("%Y-%m-%d %H:%M:%S");
    let bytes = packets * 250;
    writeln!(
        text,
        r#"{{"event_type": "purge", "ip_src": "192.168.{a}.{b}", "ip_dst": "203.0.{c}.{d}", "port_src": {port}, "port_dst": 443, "tcp_flags": "24", "ip_proto": "tcp", "timestamp_start": "{time}.{microsecond:06}", "timestamp_end": "0000-00-00 00:00:00.000000", "packets": {packets}, "bytes": {bytes}}}"#,
    )
    .expect("writing to memory");
}

fn zeek_json(text: &mut String, number: u64) {
    let Line {
        second,
        microsecond,
        source: [a, b],
        destination: [c, d],
        port,
        packets,
    } = Line::new(number);
    let bytes = packets * 250;
    writeln!(
        text,
        r#"{{"ts":{second}.{microsecond:06},"uid":"CxuT5913phc8hhuM4a","id.orig_h":"192.168.{a}.{b}","id.orig_p":{port},"id.resp_h":"203.0.{c}.{d}","id.resp_p":443,"proto":"tcp","service":"ssl","duration":0.11867618560791016,"orig_bytes":4914,"resp_bytes":4722,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":{packets},"orig_ip_bytes":{bytes},"resp_pkts":{packets},"resp_ip_bytes":{bytes}}}"#,
    )
    .expect("writing to memory");
}

fn zeek_tsv(text: &mut String, number: u64) {
    if number == 0 {
        text.push_str("#separator \\x09\n#unset_field\t-\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\ttunnel_parents\n");
    }
    let Line {
        second,
        microsecond,
        source: [a, b],
        destination: [c, d],
        port,
        packets,
    } = Line::new(number);
    let bytes = packets * 250;
    writeln!(
        text,
        "{second}.{microsecond:06}\tCxuT5913phc8hhuM4a\t192.168.{a}.{b}\t{port}\t203.0.{c}.{d}\t443\ttcp\tssl\t0.118676\t4914\t4722\tSF\tT\tF\t0\tShADadFf\t{packets}\t{bytes}\t{packets}\t{bytes}\t(empty)",
    )
    .expect("writing to memory");
}

fn events(text: &mut String, _: u64) {
    text.push_str(include_str!("../../samples/flow-tcp.json").trim_end());
    text.push('\n');
}

/// Of this thread on a processor: what else runs on the machine does not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn best(mut run: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let start = processor_time();
        run();
        processor_time().saturating_sub(start)
    });
    times.min().unwrap_or_default()
}

fn measure<P: Parser + 'static>(name: &str, lines: u64, line: fn(&mut String, u64), parser: fn() -> P) {
    if env::args().nth(2).is_some_and(|only| only != name) {
        return;
    }
    let mut text = String::new();
    for number in 0..lines {
        line(&mut text, number);
    }
    let bytes = text.into_bytes();
    let source = || LogSource::new(name, Cursor::new(bytes.clone()), parser());
    let copied = best(|| drop(source()));
    let read = best(|| {
        let mut source = source();
        while source.advance().expect("a whole line").is_some() {}
        assert_eq!(source.lines().flows, lines, "lines were left out");
    });
    let replayed = best(|| {
        let mut replay = Replay::new(vec![Box::new(source())], Duration::from_secs(10), Tunnels::Outer);
        while replay.next_interval().is_some() {}
    });
    let json = best(|| {
        for line in bytes.split(|&byte| byte == b'\n') {
            let _ = std::hint::black_box(serde_json::from_slice::<serde::de::IgnoredAny>(line));
        }
    });
    let split = best(|| {
        std::hint::black_box(memchr::memchr_iter(b'\n', &bytes).count());
    });
    let rate = |time: Duration| lines as f64 / time.saturating_sub(copied).as_secs_f64() / 1e6;
    let plain = |time: Duration| lines as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{name:>10} {:>6} B/line   read {:>6.2} M/s   replay {:>6.2} M/s   serde_json {:>6.2} M/s ({:.2})   line ends {:>6.1} M/s",
        bytes.len() as u64 / lines,
        rate(read),
        rate(replayed),
        plain(json),
        rate(read) / plain(json),
        plain(split),
    );
}

fn main() {
    let lines = env::args()
        .nth(1)
        .and_then(|lines| lines.parse().ok())
        .unwrap_or(2_000_000);
    measure("pmacct", lines, pmacct, || {
        PmacctParser::new(0, TimeFrom::Given, TimeZone::UTC)
    });
    measure("zeek-tsv", lines, zeek_tsv, ZeekParser::new);
    measure("zeek-json", lines, zeek_json, ZeekParser::new);
    measure("flowmeter", lines / 10, events, EventParser::new);
}
