use flowmeter::{
    capture::{features::Features, programs},
    config::Capture,
};

#[test]
fn load_all() {
    for tunnels in [flowmeter::config::Tunnels::Outer] {
        for (s, level) in [(1, log::LevelFilter::Info)] {
            let features = Features::probe().unwrap();
            println!("{features:?}");
            let mut capture = Capture {
                tunnels,
                sampling: s,
                ..Capture::default()
            };
            if s > 1 {
                capture.filter.deny.push("10.0.0.0/8".parse().unwrap());
            }
            let mut ebpf = programs::load(&capture, &features, level).unwrap();
            for (name, program) in ebpf.programs_mut() {
                let t0 = std::time::Instant::now();
                let result = match program {
                    aya::programs::Program::Xdp(p) => p.load(),
                    aya::programs::Program::SchedClassifier(p) => p.load(),
                    _ => panic!(),
                };
                match result {
                    Ok(()) => {
                        let i = program.info().unwrap();
                        let t = t0.elapsed();
                        println!(
                            "{:?} {name}: verified {:?} xlated {:?} ",
                            t,
                            i.verified_instruction_count(),
                            i.size_translated()
                        );
                    }
                    Err(e) => {
                        let s = format!("{e:?}");
                        println!("{name}: {}", &s[..s.len().min(300)]);
                        println!("...{}", &s[s.len().saturating_sub(3000)..].replace("\\n", "\n"));
                    }
                }
            }
        }
    }
}
