//! The meters: how each is started, ended and read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    super::{
        generator::Load,
        network::{Cable, IN},
    },
    GENERATOR_CPU, METER_CPU,
    counts::Counts,
    process::{Memory, Process},
};
use crate::{packages::Tool, process::output};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Kind {
    /// Nothing meters
    None,
    /// This project's agent, by XDP
    FlowmeterXdp,
    /// This project's agent, by TC
    FlowmeterTc,
    /// With the command line of the pipeline that this project replaces
    Pmacctd,
    /// With large buffers and a large cache
    PmacctdTuned,
    /// nfdump's own probe
    Nfpcapd,
    /// softflowd that exports to nfcapd
    Softflowd,
}

pub(super) const TOOLS: [Tool; 3] = [
    Tool {
        command: "pmacctd",
        package: "pmacct",
    },
    Tool {
        command: "nfpcapd",
        package: "nfdump",
    },
    Tool {
        command: "softflowd",
        package: "softflowd",
    },
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FlowmeterXdp => "flowmeter, XDP",
            Self::FlowmeterTc => "flowmeter, TC",
            Self::Pmacctd => "pmacctd",
            Self::PmacctdTuned => "pmacctd, tuned",
            Self::Nfpcapd => "nfpcapd",
            Self::Softflowd => "softflowd",
        }
    }

    pub(super) fn is_flowmeter(self) -> bool {
        matches!(self, Self::FlowmeterXdp | Self::FlowmeterTc)
    }

    /// What pmacctd's core has gathered for its plugin is lost when it ends, so packets of other flows push it out.
    pub(super) fn needs_pushing(self) -> bool {
        matches!(self, Self::Pmacctd | Self::PmacctdTuned)
    }

    /// To be run in the directory that its files go to.
    fn command(self, agent: &Path, flows: u32) -> Vec<String> {
        let line = match self {
            Self::None => "sleep infinity".to_owned(),
            Self::FlowmeterXdp | Self::FlowmeterTc => format!(
                "flowmeter run --interface {IN} --mode {} --max-flows {} --flows all --output {EVENTS} \
                 --log-level info --set detect.state= --set track.max_connections={}",
                if self == Self::FlowmeterXdp { "xdp" } else { "tc" },
                flows.max(65_536),
                flows.max(262_144),
            ),
            // The time in the name keeps what it writes from being overwritten the next time.
            Self::Pmacctd => format!(
                "pmacctd -i {IN} -c src_host,dst_host,src_port,dst_port,proto -P print -O json -o out-%s.json -r 60"
            ),
            Self::PmacctdTuned => format!("pmacctd -f {PMACCTD_CONFIGURATION}"),
            Self::Nfpcapd => format!(
                "nfpcapd -i {IN} -w {RECORDS} -t 600 -b {} -B {} -s {SNAPSHOT}",
                RING >> 20,
                flows.saturating_mul(2).max(524_288)
            ),
            Self::Softflowd => format!(
                "softflowd -d -i {IN} -n 127.0.0.1:9995 -v 9 -m {} -B {RING} -C {SNAPSHOT} -p pid -c {SOFTFLOWD_CONTROL}",
                flows.saturating_mul(2).max(8192)
            ),
        };
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if self.is_flowmeter()
            && let Some(program) = words.first_mut()
        {
            *program = agent.to_string_lossy().into_owned();
        }
        words
    }
}

const EVENTS: &str = "events.json";
const RECORDS: &str = "records";
const SOFTFLOWD_CONTROL: &str = "control";
const PMACCTD_CONFIGURATION: &str = "pmacctd.conf";
/// Bytes of packets that wait for user space.
const RING: u32 = 256 << 20;
/// Bytes of a packet that are looked at.
const SNAPSHOT: u32 = 128;

fn pmacctd_tuned() -> String {
    format!(
        "daemonize: false\npcap_interface: {IN}\naggregate: src_host,dst_host,src_port,dst_port,proto\n\
         plugins: print\nprint_output: json\nprint_output_file: out.json\nprint_output_file_append: true\n\
         print_refresh_time: 600\nprint_cache_entries: 399989\npmacctd_pipe_size: {RING}\nplugin_pipe_size: {RING}\n\
         plugin_buffer_size: 1048576\nsnaplen: {SNAPSHOT}\n"
    )
}

/// A meter that is running.
pub(super) struct Meter {
    kind: Kind,
    directory: PathBuf,
    pub(super) process: Process,
    collector: Option<Process>,
}

impl Meter {
    /// Starts it and waits until it sees packets.
    pub(super) fn start(
        kind: Kind,
        agent: &Path,
        cable: &Cable,
        directory: &Path,
        flows: u32,
    ) -> Result<Self> {
        let start = |cpu, name: &str, command: &[String]| {
            Process::start(&cable.meter, cpu, name, directory, command)
                .with_context(|| format!("starting {name} for {}", kind.name()))
        };
        fs::create_dir_all(directory.join(RECORDS))
            .and_then(|()| fs::write(directory.join(PMACCTD_CONFIGURATION), pmacctd_tuned()))
            .with_context(|| format!("preparing {}", directory.display()))?;
        let mut collector = None;
        if kind == Kind::Softflowd {
            let line = format!("nfcapd -w {RECORDS} -p 9995 -b 127.0.0.1 -B 200000000 -t 600");
            let command: Vec<String> = line.split(' ').map(str::to_owned).collect();
            // It has nothing to do until the generator has ended.
            let mut process = start(GENERATOR_CPU, "collector", &command)?;
            process.settle().context("starting the collector")?;
            collector = Some(process);
        }
        let process = start(METER_CPU, "meter", &kind.command(agent, flows))?;
        let mut meter = Self {
            kind,
            directory: directory.to_owned(),
            process,
            collector,
        };
        let ready = |process: &Process| match kind {
            Kind::None => true,
            Kind::FlowmeterXdp | Kind::FlowmeterTc => process.said().contains("metering"),
            _ => has_packet_socket(cable),
        };
        meter
            .process
            .wait_for("metering", ready)
            .and_then(|()| meter.process.settle())
            .with_context(|| format!("starting {}", kind.name()))?;
        Ok(meter)
    }

    /// Ends it in good order. The most memory that it held meanwhile.
    pub(super) fn stop(&mut self) -> Result<Memory> {
        if self.kind == Kind::Softflowd {
            // On a signal it ends without a word of what it still has.
            let mut control = Command::new("softflowctl");
            control
                .arg("-c")
                .arg(self.directory.join(SOFTFLOWD_CONTROL))
                .arg("expire-all");
            output(&mut control)?;
            self.process.settle().context("waiting for softflowd to export")?;
        }
        let signal = match self.kind {
            Kind::Pmacctd | Kind::PmacctdTuned => Signal::SIGINT,
            _ => Signal::SIGTERM,
        };
        let memory = self
            .process
            .stop(signal)
            .with_context(|| format!("ending {}", self.kind.name()))?;
        if let Some(collector) = &mut self.collector {
            collector
                .settle()
                .and_then(|()| collector.stop(Signal::SIGTERM))
                .context("ending the collector")?;
        }
        Ok(memory)
    }

    /// What it has written down.
    pub(super) fn counts(&self, load: &Load) -> Result<Counts> {
        let mut counts = Counts::new(load);
        match self.kind {
            Kind::None => Ok(()),
            Kind::FlowmeterXdp | Kind::FlowmeterTc => counts.read_events(&self.directory.join(EVENTS)),
            Kind::Pmacctd | Kind::PmacctdTuned => counts.read_pmacctd(&self.directory),
            Kind::Nfpcapd | Kind::Softflowd => counts.read_nfdump(&self.directory.join(RECORDS)),
        }
        .with_context(|| format!("reading what {} has counted", self.kind.name()))?;
        Ok(counts)
    }
}

/// True once somebody listens to all packets of an interface.
fn has_packet_socket(cable: &Cable) -> bool {
    let read = || fs::read_to_string("/proc/thread-self/net/packet");
    // sk, references, type, protocol, interface, running: the header line has words there.
    cable.meter.inside(read).is_ok_and(|text| {
        text.lines()
            .any(|line| line.split_whitespace().nth(5) == Some("1"))
    })
}
