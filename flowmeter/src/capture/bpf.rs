//! The `bpf(2)` commands that aya has no wrapper for: batches of a hash map, and the grace period.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use bytemuck::Pod;

// Commands and types of `enum bpf_cmd` and `enum bpf_map_type` (include/uapi/linux/bpf.h).
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// The parts of `union bpf_attr` that are used here, laid out as the kernel does.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// # Safety
/// `A` is the layout that `command` expects, and every address in it is valid for what the command does.
unsafe fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the caller vouches for the attribute; its size tells the kernel how much of it there is.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<A>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor that is open is never negative.
    fd.as_raw_fd().unsigned_abs()
}

/// Reads a hash map empty, in batches.
pub(crate) struct BatchReader<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod, V: Pod> BatchReader<K, V> {
    /// `entries`: how many are read with one call, at least as many as the fullest bucket holds; grows when
    /// it turns out too small.
    pub(crate) fn new(entries: usize) -> Self {
        Self {
            keys: vec![K::zeroed(); entries],
            values: vec![V::zeroed(); entries],
        }
    }

    /// Takes every entry out of `map` and hands it to `each`. Nobody else may write to the map meanwhile.
    ///
    /// # Errors
    /// What the kernel answers; entries handed over until then are out of the map, the others still in it.
    pub(crate) fn take_all(&mut self, map: BorrowedFd<'_>, mut each: impl FnMut(&K, &V)) -> io::Result<()> {
        // The kernel's position in the map, a bucket number (`__htab_map_lookup_and_delete_batch`).
        let mut position: Option<u32> = None;
        loop {
            let mut next = 0_u32;
            let mut attr = BatchAttr {
                in_batch: position
                    .as_ref()
                    .map_or(0, |position| (&raw const *position).expose_provenance() as u64),
                out_batch: (&raw mut next).expose_provenance() as u64,
                keys: self.keys.as_mut_ptr().expose_provenance() as u64,
                values: self.values.as_mut_ptr().expose_provenance() as u64,
                count: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
                map_fd: raw(map),
                ..BatchAttr::default()
            };
            // SAFETY: `BatchAttr` is the batch part of `bpf_attr`; both buffers hold `count` entries of the
            // map's key and value size, which the caller chose `K` and `V` by.
            match unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr) } {
                Ok(_) => {
                    self.hand_over(attr.count, &mut each);
                    position = Some(next);
                }
                // The end of the map: what is handed over is the rest.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    self.hand_over(attr.count, &mut each);
                    return Ok(());
                }
                // The next bucket holds more than the buffers; nothing was taken.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    let entries = self.keys.len() * 2;
                    self.keys.resize(entries, K::zeroed());
                    self.values.resize(entries, V::zeroed());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn hand_over(&self, count: u32, each: &mut impl FnMut(&K, &V)) {
        for (key, value) in self.keys.iter().zip(&self.values).take(count as usize) {
            each(key, value);
        }
    }
}

/// Waits until no program that was running is running any more.
///
/// Updating a map of maps from user space makes the kernel wait for an RCU grace period inside that system
/// call (`maybe_wait_bpf_programs`, kernel 4.17, made for just this use). Unlike `membarrier(2)` it also works
/// on kernels with `nohz_full`.
pub(crate) struct GracePeriod {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GracePeriod {
    /// `inner`: any map that may stand in a map of maps; it is only referred to.
    ///
    /// # Errors
    /// What the kernel answers to making the outer map.
    pub(crate) fn new(inner: BorrowedFd<'_>) -> io::Result<Self> {
        let mut attr = CreateAttr {
            map_type: BPF_MAP_TYPE_ARRAY_OF_MAPS,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            map_flags: 0,
            inner_map_fd: raw(inner),
        };
        // SAFETY: `CreateAttr` is the start of the map-create part of `bpf_attr`, without addresses.
        let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attr) }?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel just returned this descriptor, and nobody else has it.
        let outer = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            outer,
            inner: inner.try_clone_to_owned()?,
        })
    }

    /// # Errors
    /// What the kernel answers; no grace period has passed then.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let key = 0_u32;
        let value = raw(self.inner.as_fd());
        let mut attr = ElementAttr {
            map_fd: raw(self.outer.as_fd()),
            key: (&raw const key).expose_provenance() as u64,
            value: (&raw const value).expose_provenance() as u64,
            ..ElementAttr::default()
        };
        // SAFETY: `ElementAttr` is the element part of `bpf_attr`; key and value are 4 bytes, as the map has
        // them, and live until the call returns.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }
}

#[cfg(test)]
#[path = "../../tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use super::*;

    const BPF_MAP_TYPE_HASH: u32 = 1;
    const ENTRIES: u32 = 1000;

    /// A hash map in which each of `0..ENTRIES` stands for itself.
    fn filled() -> OwnedFd {
        let mut attr = CreateAttr {
            map_type: BPF_MAP_TYPE_HASH,
            key_size: 4,
            value_size: 4,
            max_entries: ENTRIES,
            ..CreateAttr::default()
        };
        // SAFETY: `CreateAttr` is the start of the map-create part of `bpf_attr`, without addresses.
        let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attr) }.unwrap();
        // SAFETY: the kernel just returned this descriptor, and nobody else has it.
        let map = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) };
        for key in 0..ENTRIES {
            let mut attr = ElementAttr {
                map_fd: raw(map.as_fd()),
                key: (&raw const key).expose_provenance() as u64,
                value: (&raw const key).expose_provenance() as u64,
                ..ElementAttr::default()
            };
            // SAFETY: key and value are 4 bytes, as the map has them, and live until the call returns.
            unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.unwrap();
        }
        map
    }

    /// Of the buffers' sizes, the first is smaller than the fullest bucket: of a thousand keys in 1024 buckets,
    /// some meet.
    #[test]
    fn every_entry_is_read_once_whatever_the_size_of_the_buffers() {
        if !support::root_or_skip("every_entry_is_read_once_whatever_the_size_of_the_buffers") {
            return;
        }
        for size in [1, 7, 4096] {
            let map = filled();
            let mut reader = BatchReader::<u32, u32>::new(size);
            let mut read = Vec::new();
            reader
                .take_all(map.as_fd(), |&key, &value| {
                    assert_eq!(key, value);
                    read.push(key);
                })
                .unwrap();
            read.sort_unstable();
            assert_eq!(read, (0..ENTRIES).collect::<Vec<_>>(), "buffers of {size}");
            reader
                .take_all(map.as_fd(), |key, _| panic!("{key} was left"))
                .unwrap();
        }
    }
}
