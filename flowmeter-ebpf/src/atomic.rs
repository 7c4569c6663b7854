//! What is done to map memory that several CPUs share.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};

/// `*counter += value` in one instruction. The result must not be used: with a relaxed ordering and
/// `-Ctarget-cpu=v3` LLVM then emits wrong code.
///
/// # Safety
/// `counter` points to an aligned `u64` of a live map value.
#[inline(always)]
pub(crate) unsafe fn add_u64(counter: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// The same for `u32`.
///
/// # Safety
/// `counter` points to an aligned `u32` of a live map value.
#[inline(always)]
pub(crate) unsafe fn add_u32(counter: *mut u32, value: u32) {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// `*bits |= value` in one instruction (kernel 5.12).
///
/// # Safety
/// `bits` points to an aligned `u32` of a live map value.
#[inline(always)]
pub(crate) unsafe fn or_u32(bits: *mut u32, value: u32) {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_or::<u32, u32, { AtomicOrdering::Relaxed }>(bits, value) };
}

/// The same for `u64`.
///
/// # Safety
/// `bits` points to an aligned `u64` of a live map value.
#[inline(always)]
pub(crate) unsafe fn or_u64(bits: *mut u64, value: u64) {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_or::<u64, u64, { AtomicOrdering::Relaxed }>(bits, value) };
}

/// Changes `from` to `to` if it is that (kernel 5.12), and returns the value before.
///
/// # Safety
/// `word` points to an aligned `u32` of a live map value.
#[inline(always)]
pub(crate) unsafe fn claim_u32(word: *mut u32, from: u32, to: u32) -> u32 {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    let (before, _) = unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, from, to)
    };
    before
}

/// Stores after all that was written before (kernel 5.12).
///
/// # Safety
/// `word` points to an aligned `u32` of a live map value.
#[inline(always)]
pub(crate) unsafe fn publish_u32(word: *mut u32, value: u32) {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, value) };
}

/// Adds and returns the value before; ordered, because the relaxed form miscompiles (see [`add_u64`]).
///
/// # Safety
/// `counter` points to an aligned `u64` of a live map value.
#[inline(always)]
pub(crate) unsafe fn fetch_add_u64(counter: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller vouches for the pointer; the access is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::AcqRel }>(counter, value) }
}
