//! The kernel half as the loop sees it: loaded programs, what they are attached to, and the drain.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use aya_log::EbpfLogger;
use rtnetlink::Handle;

use crate::{
    capture::{
        attach::{Attached, attach},
        drain::Drain,
        features::Features,
        interfaces::{self, Interface, Patterns, Skipped},
        plan::plan,
        programs,
    },
    config::Capture,
    error::Failure,
    flow::Batch,
    pipeline::Pipeline,
};

pub(super) struct Meter {
    ebpf: Ebpf,
    features: Features,
    drain: Drain,
    attached: Vec<Attached>,
    /// Names of all interfaces that were ever metered, for events that come after one is gone.
    names: BTreeMap<u32, String>,
}

impl Meter {
    pub(super) fn load(capture: &Capture) -> Result<Self> {
        let (mut ebpf, features) = Features::probe()
            .and_then(|features| Ok((programs::load(capture, &features, log::max_level())?, features)))
            .map_err(explain)?;
        if log::max_level() == log::LevelFilter::Trace {
            start_log(&mut ebpf)?;
        }
        let drain = Drain::new(&mut ebpf, programs::table_size(capture))?;
        Ok(Self {
            ebpf,
            features,
            drain,
            attached: Vec::new(),
            names: BTreeMap::from([(0, "unknown".to_owned())]),
        })
    }

    pub(super) fn notices(&mut self) -> Result<RingBuf<MapData>> {
        let map = self
            .ebpf
            .take_map("NOTICES")
            .ok_or_else(|| anyhow!("map NOTICES is not in the object"))?;
        Ok(RingBuf::try_from(map)?)
    }

    pub(super) fn names(&self) -> &BTreeMap<u32, String> {
        &self.names
    }

    /// The interfaces that are metered now, by name.
    pub(super) fn metered(&self) -> String {
        let names: Vec<_> = self
            .attached
            .iter()
            .map(|attached| attached.name.as_str())
            .collect();
        match names.as_slice() {
            [] => "nothing at the moment".to_owned(),
            names => names.join(", "),
        }
    }

    /// Hands everything counted since the last drain to the pipeline.
    pub(super) fn drain(&mut self, pipeline: &mut Pipeline, batch: &mut Batch) -> Result<()> {
        self.drain
            .drain_to(batch, |records| pipeline.take_records(records))?;
        pipeline.take(batch);
        Ok(())
    }

    /// Detaches from everything. All that was counted is in the next drain.
    pub(super) fn detach(&mut self) {
        self.attached.clear();
        if let Err(error) = self.drain.settle() {
            log::error!("{error:#}; packets of the last moment may be missing");
        }
    }

    /// Attaches to what should be metered.
    ///
    /// # Errors
    /// An interface that was asked for cannot be metered; nothing can be metered at all.
    pub(super) async fn start(&mut self, handle: &Handle, capture: &Capture) -> Result<()> {
        let interfaces = interfaces::list(handle).await?;
        let missing = interfaces::unmatched(&interfaces, &capture.interfaces)?;
        let mut failures = self.reconcile(&interfaces, capture)?;
        if !failures.is_empty() && (!capture.interfaces.is_empty() || self.attached.is_empty()) {
            return Err(explain(failures.swap_remove(0)));
        }
        if self.attached.is_empty() {
            bail!(
                "no interface {}; `flowmeter interfaces` lists what there is",
                if missing.is_empty() {
                    "can be metered".to_owned()
                } else {
                    format!("is called {}", missing.join(" or "))
                }
            );
        }
        for pattern in missing {
            log::warn!("no interface is called {pattern}; it is metered when it comes");
        }
        tell(&failures);
        Ok(())
    }

    /// Follows a change of interfaces; what cannot be metered is logged.
    ///
    /// # Errors
    /// The kernel does not list its interfaces.
    pub(super) async fn follow(&mut self, handle: &Handle, capture: &Capture) -> Result<()> {
        let interfaces = interfaces::list(handle).await?;
        tell(&self.reconcile(&interfaces, capture)?);
        Ok(())
    }

    /// Lets go of what is gone or should not be metered any more, attaches to what should be and is not. Returns
    /// why some could not be attached to.
    fn reconcile(&mut self, interfaces: &[Interface], capture: &Capture) -> Result<Vec<anyhow::Error>> {
        let selected = interfaces::select(interfaces, capture)?;
        let drop = Patterns::new(&capture.drop_after_count)?;
        let (names, drain) = (&mut self.names, &mut self.drain);
        self.attached.retain(|attached| {
            let mut described = interfaces.iter().zip(&selected);
            match described.find(|(interface, _)| interface.index == attached.ifindex) {
                // What is down is kept: it costs nothing, and no packet is missed when it comes up.
                Some((interface, None | Some(Skipped::Down))) => {
                    names.insert(interface.index, interface.name.clone());
                    return true;
                }
                Some((interface, Some(skipped))) => {
                    log::warn!("{} is not metered any more: {skipped}", interface.name);
                }
                None => log::warn!(
                    "{} is gone; it is metered again when it comes back",
                    attached.name
                ),
            }
            drain.retire_interface(attached.ifindex);
            false
        });
        let mut failures = Vec::new();
        for (interface, skipped) in interfaces.iter().zip(selected) {
            let known = self
                .attached
                .iter()
                .any(|attached| attached.ifindex == interface.index);
            if known || skipped.is_some() {
                continue;
            }
            self.names.insert(interface.index, interface.name.clone());
            match self.attach(interface, capture, drop.matches(&interface.name)) {
                Ok(attached) => {
                    log::info!("metering {} by {}", attached.name, attached.description);
                    self.attached.push(attached);
                }
                Err(error) => {
                    self.drain.retire_interface(interface.index);
                    failures.push(error.context(format!("{} cannot be metered", interface.name)));
                }
            }
        }
        Ok(failures)
    }

    fn attach(&mut self, interface: &Interface, capture: &Capture, drop: bool) -> Result<Attached> {
        let plan = plan(interface, capture, &self.features, drop)?;
        self.drain.add_interface(interface.index)?;
        attach(&mut self.ebpf, interface, &plan)
    }
}

fn tell(failures: &[anyhow::Error]) {
    for failure in failures {
        log::error!("{failure:#}");
    }
}

/// Programs write to a ring buffer; this task hands their lines to the log.
fn start_log(ebpf: &mut Ebpf) -> Result<()> {
    let logger = EbpfLogger::init(ebpf)?;
    // SAFETY: the logger owns its ring buffer's descriptor and shows the same one as long as it lives.
    let mut logger = unsafe { tokio::io::unix::AsyncFd::register(logger) }?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
    Ok(())
}

/// A refusal by the kernel for lack of rights gets its own exit code and says what to do.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let refused = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.raw_os_error() == Some(libc::EPERM))
    });
    if refused {
        let advice = "the kernel refuses; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
        return Failure::Permission(error.context(advice)).into();
    }
    error
}
