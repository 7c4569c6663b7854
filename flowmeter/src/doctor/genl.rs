//! Generic netlink: which features a driver has, asked without rights and without changing anything.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
    },
    time::TimeVal,
};

// include/uapi/linux/netlink.h and genetlink.h
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;
const HEADERS: usize = 20;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// include/uapi/linux/netdev.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

// include/uapi/linux/ethtool_netlink.h
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// Longer than any answer that is asked for here.
const ANSWER_BYTES: usize = 64 << 10;

/// Bits of `enum netdev_xdp_act`, in the words of its comments.
const XDP_ACTIONS: [(u64, &str); 7] = [
    (1, "native"),
    (2, "redirect"),
    (4, "transmit from others"),
    (8, "AF_XDP without copies"),
    (16, "offload to the device"),
    (32, "several buffers"),
    (64, "transmit several buffers from others"),
];

/// What XDP can do in the driver of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XdpModes(u64);

impl XdpModes {
    /// Programs run in the driver, before the kernel makes a packet of a frame.
    pub(super) fn native(self) -> bool {
        self.0 & 1 != 0
    }

    pub(super) fn names(self) -> String {
        let has = |(bit, name): &(u64, &'static str)| (self.0 & bit != 0).then_some(*name);
        XDP_ACTIONS.iter().filter_map(has).collect::<Vec<_>>().join(", ")
    }
}

/// Asks the driver of an interface (Linux 6.3).
///
/// # Errors
/// The kernel does not know the question.
pub(super) fn xdp_modes(ifindex: u32) -> io::Result<XdpModes> {
    let mut request = Vec::new();
    put(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes(), &mut request);
    let answer = ask("netdev", NETDEV_CMD_DEV_GET, &request)?;
    let bits = attribute(&answer, NETDEV_A_DEV_XDP_FEATURES).and_then(|value| value.first_chunk());
    bits.map(|bits| XdpModes(u64::from_ne_bytes(*bits)))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The offloads that are on, by the names that `ethtool -k` derives its own from: `rx-lro`, `rx-gro`, ...
///
/// # Errors
/// The kernel does not know the question (before 5.7), or the interface is gone.
pub(super) fn offloads(ifindex: u32) -> io::Result<Vec<String>> {
    let mut header = Vec::new();
    put(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes(), &mut header);
    let mut request = Vec::new();
    put(ETHTOOL_A_FEATURES_HEADER | NLA_F_NESTED, &header, &mut request);
    let answer = ask("ethtool", ETHTOOL_MSG_FEATURES_GET, &request)?;
    let active = attribute(&answer, ETHTOOL_A_FEATURES_ACTIVE).unwrap_or_default();
    let bits = attribute(active, ETHTOOL_A_BITSET_BITS).unwrap_or_default();
    // A set without a mask lists only the bits that are set.
    let name = |(_, bit)| attribute(bit, ETHTOOL_A_BITSET_BIT_NAME).map(text);
    Ok(attributes(bits).filter_map(name).collect())
}

/// The attributes of the answer to one question to one family.
fn ask(family: &str, command: u8, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(2, 0))?;
    let mut name = Vec::new();
    let zero_terminated = [family.as_bytes(), &[0]].concat();
    put(CTRL_ATTR_FAMILY_NAME, &zero_terminated, &mut name);
    let described = exchange(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let id = attribute(&described, CTRL_ATTR_FAMILY_ID).and_then(|value| value.first_chunk());
    let id = id.ok_or(io::ErrorKind::InvalidData)?;
    exchange(&socket, u16::from_ne_bytes(*id), command, request)
}

fn exchange(socket: &OwnedFd, family: u16, command: u8, request: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADERS + request.len()).map_err(io::Error::other)?;
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and sender: one question at a time needs neither.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(request);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let received = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(received);
    read(&answer)
}

fn read(answer: &[u8]) -> io::Result<Vec<u8>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).and_then(|bytes| bytes.first_chunk());
    let kind = u16::from_ne_bytes(*kind.ok_or_else(invalid)?);
    if kind == NLMSG_ERROR {
        let number = answer.get(16..20).and_then(|bytes| bytes.first_chunk());
        let number = i32::from_ne_bytes(*number.ok_or_else(invalid)?);
        return Err(io::Error::from_raw_os_error(number.saturating_neg()));
    }
    Ok(answer.get(HEADERS..).ok_or_else(invalid)?.to_vec())
}

fn put(kind: u16, value: &[u8], message: &mut Vec<u8>) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// Type and value of each; ends where one does not fit.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&length, rest) = bytes.split_first_chunk::<2>()?;
        let (&kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(length));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(kind) & NLA_TYPE_MASK, value))
    })
}

fn text(zero_terminated: &[u8]) -> String {
    let text = zero_terminated.strip_suffix(&[0]).unwrap_or(zero_terminated);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read_back(list in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut message = Vec::new();
            for (kind, value) in &list {
                put(*kind, value, &mut message);
            }
            let read: Vec<_> = attributes(&message).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn no_answer_makes_it_panic_or_go_round_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
            let _ = read(&bytes);
        }
    }

    /// Every network namespace has `lo`, whose GRO is on unless somebody has turned it off.
    #[test]
    fn the_kernel_tells_the_offloads_of_loopback() {
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        let on = offloads(loopback).unwrap();
        assert!(on.iter().any(|name| name == "tx-generic-segmentation"), "{on:?}");
        assert!(offloads(u32::MAX).is_err());
    }
}
