//! Frames onto a wire as they are.

#![allow(clippy::unwrap_used, reason = "a wrong set-up must fail its test")]

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// A packet socket of one interface, for sending.
pub(crate) struct RawSocket(OwnedFd);

impl RawSocket {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open(interface: &str) -> Self {
        let name = CString::new(interface).unwrap();
        // Protocol 0: nothing is received.
        // SAFETY: plain numbers in, a descriptor out.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        // SAFETY: it was just opened, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: the name ends with a zero byte and lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        assert!(index > 0, "{}", io::Error::last_os_error());
        // SAFETY: of integers and an array of integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_ifindex = i32::try_from(index).unwrap();
        let length = u32::try_from(size_of_val(&address)).unwrap();
        // SAFETY: the address is a `sockaddr_ll` of the length that is given.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = nix::unistd::write(&self.0, frame).unwrap();
        assert_eq!(sent, frame.len());
    }
}
