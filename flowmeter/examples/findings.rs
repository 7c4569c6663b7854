//! Prints the findings of a capture: `findings FILE [INTERNAL] [SETTINGS]`.
#![allow(dead_code)]
#[path = "../tests/quality/mod.rs"]
mod quality;
use flowmeter::{detect::Engine, enrich::Networks};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |i: usize| args.get(i).cloned().unwrap_or_default();
    let config = quality::config(&get(2), &get(3), &[]).unwrap();
    let secs: f64 = get(4).parse().unwrap_or(10.0);
    let mut engine = Engine::new(&config);
    let networks = Networks::new(&config.networks.internal);
    let mut origin = None;
    quality::slices(
        get(1).as_ref(),
        &config,
        std::time::Duration::from_secs_f64(secs),
        |end, slices| {
            let o = *origin.get_or_insert(end);
            quality::feed(&mut engine, &networks, &slices);
            engine.advance(end);
            for f in engine.drain() {
                println!(
                    "{:9.1} {} {} #{} {} {:?} {:?} {:?}",
                    (end - o) as f64 / 1e9,
                    f.tag.name(),
                    f.phase.name(),
                    f.sequence,
                    f.message,
                    f.reasons.iter().map(|r| r.words.as_str()).collect::<Vec<_>>(),
                    f.counts.iter().map(|c| (c.name, c.value)).collect::<Vec<_>>(),
                    f.score
                );
            }
        },
    );
}
