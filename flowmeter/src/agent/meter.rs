//! The kernel half as the loop sees it: loaded programs, what they are attached to, and the drain.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
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
        interfaces::{self, Patterns},
        plan::plan,
        programs,
    },
    config::Capture,
    error::Failure,
    flow::Batch,
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
        let drain = Drain::new(&mut ebpf, programs::map_entries(capture))?;
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

    pub(super) fn is_idle(&self) -> bool {
        self.attached.is_empty()
    }

    pub(super) fn names(&self) -> &BTreeMap<u32, String> {
        &self.names
    }

    pub(super) fn drain(&mut self, batch: &mut Batch) -> Result<()> {
        self.drain.drain(batch)
    }

    pub(super) fn detach(&mut self) {
        self.attached.clear();
    }

    /// Attaches to what should be metered and is not, lets go of what is gone.
    ///
    /// # Errors
    /// At the start: an interface that was asked for cannot be metered. Later that is logged.
    pub(super) async fn reconcile(&mut self, handle: &Handle, capture: &Capture) -> Result<()> {
        let interfaces = interfaces::list(handle).await?;
        let selected = interfaces::select(&interfaces, capture)?;
        let drop = Patterns::new(&capture.drop_after_count)?;
        self.attached.retain(|attached| {
            let there = interfaces
                .iter()
                .any(|interface| interface.index == attached.ifindex);
            if !there {
                log::warn!("{} is gone; metering goes on when it comes back", attached.name);
            }
            there
        });
        let starting = self.attached.is_empty();
        for (interface, skipped) in interfaces.iter().zip(selected) {
            let known = self
                .attached
                .iter()
                .any(|attached| attached.ifindex == interface.index);
            if known || skipped.is_some() {
                continue;
            }
            let result = plan(interface, capture, &self.features, drop.matches(&interface.name))
                .map_err(anyhow::Error::from)
                .and_then(|plan| {
                    self.drain.add_interface(interface.index)?;
                    attach(&mut self.ebpf, interface, &plan)
                });
            match result {
                Ok(attached) => {
                    log::info!("metering {} by {}", attached.name, attached.description);
                    self.names.insert(attached.ifindex, attached.name.clone());
                    self.attached.push(attached);
                }
                Err(error) if starting && !capture.interfaces.is_empty() => return Err(explain(error)),
                Err(error) => log::error!("{} is not metered: {error:#}", interface.name),
            }
        }
        Ok(())
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
