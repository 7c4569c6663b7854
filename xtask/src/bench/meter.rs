//! A kernel program on the meter's end of the cable: the agent's, the reference, or one that does nothing.

#[allow(dead_code, reason = "the agent waits for grace periods with a part of it")]
#[allow(clippy::duplicate_mod, reason = "its tests bring their support along")]
#[path = "../../../flowmeter/src/capture/bpf.rs"]
mod bpf;

#[path = "../../../flowmeter/src/capture/slots.rs"]
mod slots;

use std::{os::fd::AsFd as _, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, PerCpuArray, PerCpuValues},
    programs::{LinkOrder, Program, ProgramInfo, TcAttachType, XdpMode, tc::TcAttachOptions},
};
use bpf::BatchReader;
use bytemuck::Pod;
use flowmeter_common::{FlowCounters, FlowKey, InterfaceSlot, TableSize};

use super::{
    generator::{Load, traffic::MAX_FLOWS},
    network::{Cable, IN},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Xdp,
    Tc,
}

/// Which program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lets the packet pass, no more.
    Empty,
    /// The least that a meter does; `coarse`: with the clock that the agent's programs take.
    Reference { coarse: bool },
    /// The agent's programs.
    Agent,
}

/// A loaded program and its maps, attached until it is dropped.
pub(super) struct Meter {
    ebpf: Ebpf,
    kind: Kind,
    program: &'static str,
    size: TableSize,
}

/// Where the programs are.
pub(super) struct Objects {
    pub(super) agent: PathBuf,
    pub(super) bench: PathBuf,
}

/// What the kernel tells of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) ns: u64,
}

impl Meter {
    /// Loads a program for `flows` and attaches it to the cable.
    pub(super) fn attach(
        cable: &Cable,
        objects: &Objects,
        kind: &Kind,
        hook: Hook,
        flows: u32,
    ) -> Result<Self> {
        let size = TableSize::of(flows);
        let program = match (kind, hook) {
            (Kind::Empty, Hook::Xdp) => "empty_xdp",
            (Kind::Empty, Hook::Tc) => "empty_tc",
            (Kind::Reference { .. }, Hook::Xdp) => "reference_xdp",
            (Kind::Reference { .. }, Hook::Tc) => "reference_tc",
            (Kind::Agent, Hook::Xdp) => "flowmeter_xdp",
            (Kind::Agent, Hook::Tc) => "flowmeter_in",
        };
        let mut ebpf = match kind {
            Kind::Empty => EbpfLoader::new().load_file(&objects.bench),
            Kind::Reference { coarse } => EbpfLoader::new()
                .map_max_entries("REFERENCE", 2 * flows)
                .override_global("COARSE", &u8::from(*coarse), true)
                .load_file(&objects.bench),
            // As the agent itself does, in flowmeter/src/capture/programs.rs.
            Kind::Agent => EbpfLoader::new()
                .btf(None)
                .map_max_entries("PAGES", 2 * size.pages)
                .map_max_entries("USED", 2 * size.pages)
                .map_max_entries("OVERFLOW_0", size.overflow)
                .map_max_entries("OVERFLOW_1", size.overflow)
                .override_global("GENERATION_PAGES", &size.pages, true)
                .override_global("AYA_LOG_LEVEL", &0_u8, false)
                .load_file(&objects.agent),
        }
        .with_context(|| format!("loading the object with {program}"))?;
        if *kind == Kind::Agent {
            add_interface(&mut ebpf, cable.meter_ifindex()?)?;
        }
        cable.meter.inside(|| attach(&mut ebpf, program))?;
        Ok(Self {
            ebpf,
            kind: kind.clone(),
            program,
            size,
        })
    }

    fn info(&self) -> Result<ProgramInfo> {
        let program = self.ebpf.program(self.program).context("the program is gone")?;
        Ok(program.info()?)
    }

    /// Instructions that the verifier walked.
    pub(super) fn verified_instructions(&self) -> Result<Option<u32>> {
        Ok(self.info()?.verified_instruction_count())
    }

    /// How often the program ran and how long, while statistics were enabled.
    pub(super) fn runs(&self) -> Result<Runs> {
        let info = self.info()?;
        Ok(Runs {
            count: info.run_count(),
            ns: u64::try_from(info.run_time().as_nanos())?,
        })
    }

    /// Reads the flows out of the kernel and compares them with what was sent: every flow, packets and bytes.
    /// Returns nanoseconds an entry.
    ///
    /// # Errors
    /// Anything is missing or too much.
    pub(super) fn check(&self, load: &Load, rounds: u32) -> Result<Option<f64>> {
        let begin = Instant::now();
        let mut tally = Tally::new(load, rounds);
        match self.kind {
            Kind::Empty => return Ok(None),
            Kind::Reference { .. } => self.read::<[u8; 40], [u64; 5]>("REFERENCE", |key, counters| {
                tally.add(key[..16].try_into().unwrap_or_default(), counters[0], counters[1]);
            })?,
            Kind::Agent => {
                let mut add = |key: &FlowKey, counters: &FlowCounters| {
                    tally.add(key.source, counters.packets, counters.wire_bytes);
                };
                let [pages, used] = [self.array("PAGES")?, self.array("USED")?];
                slots::take_all(
                    pages.fd().as_fd(),
                    used.fd().as_fd(),
                    0,
                    self.size.pages,
                    |slot| add(&slot.key, &slot.counters),
                )
                .context("reading the slots of the flow table")?;
                self.read::<FlowKey, FlowCounters>("OVERFLOW_0", add)?;
            }
        }
        let ns = begin.elapsed().as_nanos() as f64 / f64::from(load.flows);
        tally.finish(&format!("{:?}", self.kind))?;
        Ok(Some(ns))
    }

    fn array(&self, map: &str) -> Result<&MapData> {
        match self.ebpf.map(map) {
            Some(Map::Array(data)) => Ok(data),
            other => anyhow::bail!("map {map} is {other:?}"),
        }
    }

    fn read<K: Pod, V: Pod>(&self, map: &str, mut each: impl FnMut(&K, &V)) -> Result<()> {
        match self.ebpf.map(map) {
            Some(Map::HashMap(data)) => BatchReader::new(4096)
                .take_all(data.fd().as_fd(), |key, value| each(key, value))
                .with_context(|| format!("reading map {map}")),
            other => anyhow::bail!("map {map} is {other:?}"),
        }
    }
}

fn attach(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("program {name} is not in the object"))?;
    match program {
        Program::Xdp(program) => {
            program
                .load()
                .with_context(|| format!("loading {name} into the kernel"))?;
            program.attach(IN, XdpMode::Driver).map(drop)
        }
        Program::SchedClassifier(program) => {
            program
                .load()
                .with_context(|| format!("loading {name} into the kernel"))?;
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            program
                .attach_with_options(IN, TcAttachType::Ingress, options)
                .map(drop)
        }
        other => anyhow::bail!("{name} is {other:?}"),
    }
    .with_context(|| format!("attaching {name}"))
}

/// Gives the interface its own counters, as the agent does before it attaches.
fn add_interface(ebpf: &mut Ebpf, ifindex: u32) -> Result<()> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("reading {file}: {error}"))?;
    let map = ebpf.map_mut("INTERFACES").context("no map INTERFACES")?;
    let mut interfaces = PerCpuArray::<_, [u8; size_of::<InterfaceSlot>()]>::try_from(map)?;
    let slot = bytemuck::cast(InterfaceSlot {
        ifindex,
        ..InterfaceSlot::default()
    });
    let place = InterfaceSlot::places(ifindex)
        .find(|place| *place != 0)
        .context("no place")?;
    interfaces.set(place, PerCpuValues::try_from(vec![slot; cpus])?, 0)?;
    Ok(())
}

/// What each flow should have, against what it has.
struct Tally {
    first_flow: u32,
    /// Bytes of a packet of each flow; 0 once the flow was found.
    lengths: Vec<u32>,
    rounds: u64,
    wrong: u64,
}

impl Tally {
    fn new(load: &Load, rounds: u32) -> Self {
        let traffic = load.traffic(0);
        Self {
            first_flow: load.first_flow,
            lengths: (0..load.flows)
                .map(|flow| traffic.flow(load.first_flow + flow).frame_length)
                .collect(),
            rounds: u64::from(rounds),
            wrong: 0,
        }
    }

    /// The source address tells the flow: its last 24 bits.
    fn add(&mut self, source: [u8; 16], packets: u64, bytes: u64) {
        let [.., a, b, c, d] = source;
        let number = (u32::from_be_bytes([a, b, c, d]) % MAX_FLOWS).wrapping_sub(self.first_flow);
        match self.lengths.get_mut(number as usize) {
            Some(length)
                if *length != 0 && packets == self.rounds && bytes == packets * u64::from(*length) =>
            {
                *length = 0;
            }
            _ => self.wrong += 1,
        }
    }

    fn finish(self, who: &str) -> Result<()> {
        let missing = self.lengths.iter().filter(|length| **length != 0).count();
        ensure!(
            self.wrong == 0 && missing == 0,
            "{who} counted wrongly: {} flows are wrong or were not sent, {missing} of {} have not the packets and \
             bytes that were sent",
            self.wrong,
            self.lengths.len()
        );
        Ok(())
    }
}
