//! Prints the slices of a capture: `cargo run --example slices -- FILE [INTERVAL_SECONDS]`.
#[path = "../tests/quality/replayed.rs"]
mod replayed;
fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap();
    let interval: f64 = args.next().map_or(10.0, |text| text.parse().unwrap());
    let mut origin = None;
    replayed::slices(
        path.as_ref(),
        &flowmeter::config::Config::default(),
        std::time::Duration::from_secs_f64(interval),
        |_, slices| {
            for s in slices {
                let o = *origin.get_or_insert(s.start_ns);
                println!(
                    "{:10.3} {:9.3} p{} {}:{} > {}:{} {:?} {:?} fwd {}p {}B f{:02x} rev {}p {}B f{:02x} end {:?}",
                    (s.start_ns as f64 - o as f64) / 1e9,
                    (s.last_ns - s.start_ns) as f64 / 1e9,
                    s.protocol,
                    s.initiator.ip,
                    s.initiator.port,
                    s.responder.ip,
                    s.responder.port,
                    s.outcome,
                    s.basis,
                    s.forward.packets,
                    s.forward.l3_bytes,
                    s.forward.tcp_flags,
                    s.reverse.packets,
                    s.reverse.l3_bytes,
                    s.reverse.tcp_flags,
                    s.end.map(|e| e.name())
                );
            }
        },
    );
}
