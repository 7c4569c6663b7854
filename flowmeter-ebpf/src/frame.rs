//! Packet memory as the frame parser reads it.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_skb_load_bytes,
    programs::{TcContext, XdpContext},
};
use flowmeter_common::Frame;

/// Headers are looked for in this many first bytes; the bound is what lets the verifier follow offsets that
/// come out of the packet.
const WINDOW: usize = 2048;

/// Bytes that a program may read directly: an XDP buffer's first part, a socket buffer's linear part.
pub(crate) struct Linear {
    start: usize,
    end: usize,
}

impl Linear {
    #[inline(always)]
    pub(crate) fn of_xdp(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }

    #[inline(always)]
    pub(crate) fn of_skb(ctx: &TcContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

impl Frame for Linear {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > WINDOW - 32 {
            return None;
        }
        // The mask changes nothing; it tells the verifier the range, which it loses across spills.
        let at = self.start + (offset & (WINDOW - 1));
        if at + N > self.end {
            return None;
        }
        // SAFETY: `at .. at + N` was just checked to lie inside the packet; the type has no alignment.
        Some(unsafe { core::ptr::read_unaligned(at as *const [u8; N]) })
    }
}

/// A socket buffer whose headers are not in its linear part; slower, and changes nothing in the packet, as
/// pulling the data would.
pub(crate) struct Paged<'a>(pub(crate) &'a TcContext);

impl Frame for Paged<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > WINDOW - 32 {
            return None;
        }
        let mut bytes = [0; N];
        // SAFETY: the context is the program's own, and the helper writes `N` bytes into a buffer of `N`.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.0.as_ptr(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (result == 0).then_some(bytes)
    }
}
