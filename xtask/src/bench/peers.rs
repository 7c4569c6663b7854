//! The agent beside other flow meters, on the same traffic: what each counts of it, and what that costs.

mod counts;
mod meter;
mod process;
mod tables;
mod tcp;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};

use self::meter::{Kind, Meter};
use super::{
    Bench,
    generator::{Frames, Load, Sent, pin, send},
    network::{Cable, OUT},
    report::Report,
};
use crate::{packages, process::step, signals};

/// The generator and all that the kernel does with its packets on the way.
const GENERATOR_CPU: usize = 0;
const METER_CPU: usize = 1;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Peers {
    /// Numbers of flows
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 100_000, 1_000_000])]
    flows: Vec<u32>,
    /// What is sent; `v6` and `mixed` to this project's agent alone
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Traffic::V4, Traffic::V6, Traffic::Mixed])]
    traffic: Vec<Traffic>,
    /// These meters alone
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = ALL)]
    only: Vec<Kind>,
    /// Packets in each run
    #[arg(long, default_value_t = 2_000_000)]
    packets: u32,
    /// These parts alone
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Part::Most, Part::Lossless, Part::Tcp])]
    parts: Vec<Part>,
}

const ALL: [Kind; 7] = [
    Kind::None,
    Kind::FlowmeterXdp,
    Kind::FlowmeterTc,
    Kind::Pmacctd,
    Kind::PmacctdTuned,
    Kind::Nfpcapd,
    Kind::Softflowd,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Traffic {
    /// IPv4, the smallest frames
    V4,
    /// IPv6, the smallest frames
    V6,
    /// IPv4, frames of 60, 590 and 1514 bytes
    Mixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// As many packets as the generator can send
    Most,
    /// The highest rate with next to no loss
    Lossless,
    /// The rate of a TCP connection
    Tcp,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            flows: vec![1000, 100_000, 1_000_000],
            traffic: vec![Traffic::V4, Traffic::V6, Traffic::Mixed],
            only: ALL.to_vec(),
            packets: 2_000_000,
            parts: vec![Part::Most, Part::Lossless, Part::Tcp],
        }
    }
}

impl Traffic {
    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Mixed => "IPv4, mixed sizes",
        }
    }

    fn load(self, flows: u32, packets: u32) -> Load {
        Load {
            ipv6: self == Self::V6,
            frames: if self == Self::Mixed {
                Frames::Mixed
            } else {
                Frames::Small
            },
            // Not in the order in which the flows lie in a table.
            again: true,
            cpu: GENERATOR_CPU,
            ..Load::new(flows, packets)
        }
    }
}

/// Loss up to this part counts as none.
const NO_LOSS: f64 = 0.001;
/// The search for a rate ends when what is too much is no more than this times what is not.
const NEAR: f64 = 1.1;
/// Packets a second that every meter should carry.
const LEAST_RATE: f64 = 50_000.0;

/// What one run has shown.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    load: Load,
    sent: Sent,
    counted: counts::Sum,
    /// CPU time of the meter until it had caught up with the traffic, and from there until it had written all down
    /// and ended.
    own_ns: f64,
    end_ns: f64,
    memory: process::Memory,
}

impl Outcome {
    fn loss(&self) -> f64 {
        1.0 - self.counted.packets as f64 / self.sent.packets as f64
    }

    fn rate(&self) -> f64 {
        self.sent.packets as f64 / self.sent.seconds
    }
}

#[derive(Default)]
struct Figures {
    /// One for each repetition.
    most: BTreeMap<(Traffic, u32, Kind), Vec<Outcome>>,
    /// One for each repetition, `None` where it lost packets at every rate.
    lossless: BTreeMap<(u32, Kind), Vec<Option<Outcome>>>,
    tcp: tcp::Rates,
    /// Runs that were thrown away since not all that was sent arrived.
    void: u32,
}

struct Setting<'a> {
    bench: &'a Bench<'a>,
    agent: PathBuf,
    cable: Cable,
}

pub(super) fn measure(bench: &Bench, options: &Peers) -> Result<Report> {
    packages::ensure_tools(&meter::TOOLS)?;
    let agent = bench.workspace.build_agent()?;
    // Nothing of ours runs where the meter runs.
    pin(GENERATOR_CPU)?;
    let setting = Setting {
        bench,
        agent,
        cable: Cable::new()?,
    };
    setting.cable.meter.ip("link set lo up")?;
    let mut figures = Figures::default();
    for repetition in 1..=bench.repetitions {
        step(&format!("repetition {repetition} of {}", bench.repetitions));
        if options.parts.contains(&Part::Most) {
            setting.most(options, &mut figures)?;
        }
        if options.parts.contains(&Part::Lossless) {
            setting.lossless(options, &mut figures)?;
        }
        if options.parts.contains(&Part::Tcp) {
            tcp::measure(&setting, &mut figures.tcp)?;
        }
    }
    Ok(tables::report(options, &figures))
}

impl Setting<'_> {
    fn most(&self, options: &Peers, figures: &mut Figures) -> Result<()> {
        for &traffic in &options.traffic {
            for &flows in &options.flows {
                for &kind in &options.only {
                    if traffic != Traffic::V4 && kind != Kind::None && !kind.is_flowmeter() {
                        continue;
                    }
                    let outcome = self.run(kind, &traffic.load(flows, options.packets), &mut figures.void)?;
                    let runs = figures.most.entry((traffic, flows, kind)).or_default();
                    runs.push(outcome);
                }
            }
        }
        Ok(())
    }

    /// Looks for the highest rate without loss: of pmacctd and of the agent, where the flows fit into pmacctd.
    fn lossless(&self, options: &Peers, figures: &mut Figures) -> Result<()> {
        for &flows in options.flows.iter().filter(|flows| **flows < 1_000_000) {
            for &kind in &options.only {
                if !kind.is_flowmeter() && kind != Kind::Pmacctd {
                    continue;
                }
                let outcome = self.highest_rate(kind, flows, options.packets, &mut figures.void)?;
                figures.lossless.entry((flows, kind)).or_default().push(outcome);
            }
        }
        Ok(())
    }

    fn highest_rate(&self, kind: Kind, flows: u32, packets: u32, void: &mut u32) -> Result<Option<Outcome>> {
        let fastest = self.run(kind, &Traffic::V4.load(flows, packets), void)?;
        if fastest.loss() <= NO_LOSS {
            return Ok(Some(fastest));
        }
        let (mut low, mut high, mut best) = (LEAST_RATE, fastest.rate(), None);
        while high > low * NEAR {
            let rate = (low * high).sqrt();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few million"
            )]
            let packets_a_second = rate as u64;
            let load = Load {
                rate: Some(packets_a_second),
                ..Traffic::V4.load(flows, packets)
            };
            let outcome = self.run(kind, &load, void)?;
            if outcome.loss() <= NO_LOSS {
                (low, best) = (rate, Some(outcome));
            } else {
                high = rate;
            }
        }
        Ok(best)
    }

    /// One run that is not void.
    fn run(&self, kind: Kind, load: &Load, void: &mut u32) -> Result<Outcome> {
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            if let Some(outcome) = self.try_run(kind, load)? {
                return Ok(outcome);
            }
            *void += 1;
        }
        anyhow::bail!(
            "not every packet that was sent arrived, {TRIES} times in a row: something else slows the cable down"
        )
    }

    fn try_run(&self, kind: Kind, load: &Load) -> Result<Option<Outcome>> {
        signals::check()?;
        let scratch = self.bench.workspace.target.join("bench");
        fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
        let directory = tempfile::tempdir_in(scratch).context("making a directory for the meter's files")?;
        let mut meter = Meter::start(kind, &self.agent, &self.cable, directory.path(), load.flows)?;

        let (arrived, begin) = (self.cable.arrived()?, meter.process.cpu_ns()?);
        let sent = self.send(load)?;
        let arrived = self.cable.arrived()? - arrived;
        if kind != Kind::None {
            meter
                .process
                .settle()
                .context("waiting for the meter to catch up")?;
        }
        let caught_up = meter.process.cpu_ns()?;
        if kind.needs_pushing() {
            self.send(&PUSH)?;
            meter
                .process
                .settle()
                .context("waiting for the meter to catch up")?;
        }
        let pushed = meter.process.cpu_ns()?;
        let memory = meter.stop()?;
        let end = meter.process.cpu_ns()?;
        let outcome = Outcome {
            load: *load,
            sent,
            counted: meter.counts(load)?.sum(load),
            own_ns: (caught_up - begin) as f64,
            end_ns: (end - pushed) as f64,
            memory,
        };
        step(&format!(
            "{}, {} flows{}: {:.2} Mpps, {:.2} % lost, {} of {} flows exact",
            kind.name(),
            load.flows,
            if load.ipv6 { " of IPv6" } else { "" },
            outcome.rate() / 1e6,
            100.0 * outcome.loss(),
            outcome.counted.exact,
            load.flows
        ));
        if arrived != sent.packets {
            step(&format!(
                "thrown away: {} packets were sent, {arrived} arrived",
                sent.packets
            ));
            return Ok(None);
        }
        Ok(Some(outcome))
    }

    fn send(&self, load: &Load) -> Result<Sent> {
        let object = self.bench.workspace.bench_object();
        self.cable.sender.inside(|| send(&object, OUT, load))
    }
}

/// See [`Kind::needs_pushing`].
const PUSH: Load = Load {
    flows: 16,
    rounds: 1250,
    first_flow: 15_000_000,
    frames: Frames::Small,
    ipv6: false,
    again: false,
    rate: Some(40_000),
    cpu: GENERATOR_CPU,
};
