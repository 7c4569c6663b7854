#![allow(dead_code)]
#[path = "../tests/quality/mod.rs"]
mod quality;
use flowmeter::{
    detect::{Engine, Phase},
    enrich::Networks,
};
use std::collections::BTreeMap;
fn run(path: &str, internal: &str, set: &str, secs: f64) -> BTreeMap<String, u64> {
    let config = quality::config(internal, set, &[]).unwrap();
    let mut engine = Engine::new(&config);
    let networks = Networks::new(&config.networks.internal);
    let mut out = BTreeMap::new();
    let mut last = 0;
    let mut take = |engine: &mut Engine| {
        for f in engine.drain() {
            if f.phase == Phase::Start {
                out.entry(format!(
                    "{} {:?} {:?} {:?} {:?}",
                    f.tag.name(),
                    f.source,
                    f.destination,
                    f.port,
                    f.reasons.first().map(|r| r.id)
                ))
                .or_insert(f.first_seen_ns);
            }
        }
    };
    quality::slices(
        path.as_ref(),
        &config,
        std::time::Duration::from_secs_f64(secs),
        |end, slices| {
            quality::feed(&mut engine, &networks, &slices);
            engine.advance(end);
            last = last.max(end);
            take(&mut engine);
        },
    );
    engine.advance(last + 120_000_000_000);
    take(&mut engine);
    out
}
fn main() {
    let data = std::env::args().nth(1).unwrap();
    let text = std::fs::read_to_string(format!("{data}/expected.tsv")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().skip(1) {
        let f: Vec<&str> = line.split('\t').collect();
        if !seen.insert((f[0], f[1], f[2])) {
            continue;
        }
        let path = format!("{data}/{}", f[0]);
        let base = run(&path, f[1], f[2], 10.0);
        for secs in [1.0, 4.0, 27.0, 60.0] {
            let other = run(&path, f[1], f[2], secs);
            for (k, _) in base.iter().filter(|(k, _)| !other.contains_key(*k)) {
                println!("{} {secs}: missing {k}", f[0]);
            }
            for (k, _) in other.iter().filter(|(k, _)| !base.contains_key(*k)) {
                println!("{} {secs}: more {k}", f[0]);
            }
            for (k, t) in &base {
                if let Some(o) = other.get(k)
                    && o.abs_diff(*t) as f64 > secs.max(10.0) * 1e9
                {
                    println!(
                        "{} {secs}: start off by {} s: {k}",
                        f[0],
                        o.abs_diff(*t) as f64 / 1e9
                    );
                }
            }
        }
    }
}
