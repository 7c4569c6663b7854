//! What this kernel offers of what the meter can use.

use anyhow::{Context as _, Result};
use aya::{
    programs::{ProgramType, SchedClassifier, TcAttachType},
    sys::{BpfHelper, is_helper_supported},
};

/// Probed, not guessed from a version: distributions carry features back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `bpf_ktime_get_coarse_ns` (5.11).
    pub coarse_clock: bool,
    /// `bpf_xdp_get_buff_len` and programs over several buffers (5.18). Without them jumbo frames would be
    /// counted short, so XDP is not used at all.
    pub xdp_multi_buffer: bool,
    /// TCX links (6.6).
    pub tcx: bool,
}

impl Features {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel does not let this process ask: no CAP_BPF, or no `bpf(2)` at all.
    pub fn probe() -> Result<Self> {
        let helper = |program, helper| {
            is_helper_supported(program, helper).context("asking the kernel which BPF helpers it has")
        };
        Ok(Self {
            coarse_clock: helper(
                ProgramType::SchedClassifier,
                BpfHelper::BPF_FUNC_ktime_get_coarse_ns,
            )?,
            xdp_multi_buffer: helper(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len)?,
            tcx: tcx_supported(),
        })
    }
}

/// `bpf_mprog_query` knows TCX attach types from 6.6 on; before, the attach type itself is invalid. Every
/// network namespace has `lo`.
fn tcx_supported() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}
