//! The slots of the flow table, read where the kernel programs write them.

use std::{io, num::NonZeroUsize, os::fd::BorrowedFd, ptr::NonNull, slice};

use bytemuck::Pod;
use flowmeter_common::{FlowPage, FlowSlot};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Takes every flow out of the slots of one generation and hands it to `each`; programs must not be writing it.
///
/// `pages` and `used`: the maps of that name; `generation`: 0 or 1; `count`: pages in each generation, as `TableSize`
/// has them.
///
/// The memory is mapped for as long as it is read: it would count as the agent's own for all of the time.
///
/// # Errors
/// The kernel does not map the memory; then nothing was taken.
pub(crate) fn take_all(
    pages: BorrowedFd<'_>,
    used: BorrowedFd<'_>,
    generation: u32,
    count: u32,
    mut each: impl FnMut(&FlowSlot),
) -> io::Result<()> {
    let (count, first) = (count as usize, generation as usize * count as usize);
    // The bits of both generations are a few pages at most, and may share one.
    let mut used = Mapping::<u64>::of(used, 0, 2 * count)?;
    let used = used.part(first, count);
    if used.iter().all(|bits| *bits == 0) {
        return Ok(());
    }
    let mut pages = Mapping::<FlowPage>::of(pages, first, count)?;
    for (bits, page) in used.iter_mut().zip(pages.part(0, count)) {
        while *bits != 0 {
            let index = bits.trailing_zeros();
            *bits &= *bits - 1;
            if let Some(slot) = page.get_mut(index as usize) {
                each(slot);
                slot.tag = FlowSlot::FREE;
            }
        }
    }
    Ok(())
}

/// Elements of an array map in this process's memory, until it is dropped.
struct Mapping<T> {
    start: NonNull<T>,
    length: NonZeroUsize,
}

impl<T: Pod> Mapping<T> {
    /// `count` elements from `first` on, which starts a page.
    fn of(map: BorrowedFd<'_>, first: usize, count: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(count * size_of::<T>()).ok_or(io::ErrorKind::InvalidInput)?;
        let offset = i64::try_from(first * size_of::<T>()).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at a place that the kernel chooses. It refuses one that goes beyond the map.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                offset,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// `count` elements from `first` on, as far as they were mapped. Programs must not be writing these.
    fn part(&mut self, first: usize, count: usize) -> &mut [T] {
        let mapped = self.length.get() / size_of::<T>();
        let first = first.min(mapped);
        // SAFETY: within the mapping.
        let start = unsafe { self.start.add(first) };
        let count = count.min(mapped - first);
        // SAFETY: so much is mapped, from an element of a page-aligned array on; any bytes are a `T`. The caller vouches that
        // nobody writes it.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), count) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the whole of the mapping; what was lent of it is gone.
        let unmapped = unsafe { munmap(self.start.cast(), self.length.get()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
