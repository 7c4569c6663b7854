//! Packets onto an interface, each when its time has come.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    libc::{ARPHRD_ETHER, ARPHRD_LOOPBACK},
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};

use super::{conversation::Conversation, frame, packets::Packets, site::is_harmless};
use crate::error::Failure;

/// How long an interface whose queue is full is waited for, each time.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// An interface that takes Ethernet frames.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
    interface: String,
    address: LinkAddr,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub packets: u64,
    pub wire_bytes: u64,
    /// Times that the interface's queue was full and a frame was offered again.
    pub full_queue: u64,
}

/// Finds the address that keeps conversations from being sent: one that may be somebody's on the Internet.
///
/// # Errors
/// That address.
pub fn check(conversations: &[Conversation]) -> Result<()> {
    let ends = conversations
        .iter()
        .flat_map(|conversation| [conversation.client, conversation.server]);
    for end in ends {
        ensure!(
            is_harmless(end.ip()),
            "refused to send packets of {}: only private and documentation addresses are sent; write a capture \
             with --pcap instead, or take another inside network, such as --set networks.internal=192.168.56.0/24",
            end.ip()
        );
    }
    Ok(())
}

impl Sender {
    /// # Errors
    /// An interface that is not there or takes no Ethernet frames; `CAP_NET_RAW` missing.
    pub fn open(interface: &str) -> Result<Self> {
        let address = getifaddrs()
            .context("reading the interfaces")?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .ok_or_else(|| anyhow!("no interface {interface}; `ip link` lists what there is"))?;
        if ![ARPHRD_ETHER, ARPHRD_LOOPBACK].contains(&address.hatype()) {
            bail!("interface {interface} takes no Ethernet frames");
        }
        // Protocol 0: nothing is received.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
        let socket = match socket {
            Err(Errno::EPERM) => {
                let advice = anyhow!("cannot send on {interface}: run as root, or with CAP_NET_RAW");
                return Err(Failure::Permission(advice).into());
            }
            socket => socket.context("opening a packet socket")?,
        };
        Ok(Self {
            socket,
            interface: interface.to_owned(),
            address,
        })
    }

    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Sends all packets, `speed` times as fast as their times say, and returns when the interface has the last.
    ///
    /// # Errors
    /// As [`check`], before anything is sent. The interface takes no more: it is down, gone, or its MTU is below
    /// 1,500.
    pub fn send(&self, conversations: Vec<Conversation>, speed: f64) -> Result<Sent> {
        check(&conversations)?;
        let begun = Instant::now();
        let mut sent = Sent::default();
        let mut bytes = Vec::with_capacity(frame::MAX_BYTES);
        for packet in Packets::new(conversations) {
            frame::write(&packet, &mut bytes);
            let due =
                Duration::try_from_secs_f64(packet.after.as_secs_f64() / speed).unwrap_or(Duration::MAX);
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                thread::sleep(early);
            }
            self.offer(&bytes, &mut sent)
                .with_context(|| format!("sending on {}, after {} packets", self.interface, sent.packets))?;
        }
        Ok(sent)
    }

    fn offer(&self, bytes: &[u8], sent: &mut Sent) -> Result<()> {
        loop {
            match sendto(self.socket.as_raw_fd(), bytes, &self.address, MsgFlags::empty()) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    sent.full_queue += 1;
                    thread::sleep(FULL_QUEUE_PAUSE);
                }
                Err(Errno::EMSGSIZE) => bail!("a frame of {} bytes is over its MTU", bytes.len()),
                Err(error) => return Err(error.into()),
            }
        }
        sent.packets += 1;
        sent.wire_bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::generate::{SCENARIOS, conversation::Talk, conversations, site::Site};

    #[test]
    fn no_scenario_is_refused() {
        let internal = crate::config::Config::default().networks.internal;
        for ipv6 in [false, true] {
            let site = Site::new(&internal, ipv6).unwrap();
            let all: Vec<_> = SCENARIOS.iter().collect();
            check(&conversations(&all, &site, None)).unwrap();
        }
    }

    #[test]
    fn one_address_of_somebody_elses_is_enough_to_refuse() {
        let conversation = |client: [u8; 4], server: [u8; 4]| Conversation {
            client: SocketAddr::from((client, 1)),
            server: SocketAddr::from((server, 1)),
            start: Duration::ZERO,
            talk: Talk::Unanswered,
        };
        let fine = conversation([10, 0, 0, 1], [192, 0, 2, 1]);
        for bad in [
            conversation([10, 0, 0, 1], [8, 8, 8, 8]),
            conversation([8, 8, 8, 8], [10, 0, 0, 1]),
        ] {
            let error = check(&[fine.clone(), bad]).unwrap_err().to_string();
            assert!(error.contains("8.8.8.8"), "{error}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_told() {
        let error = Sender::open("fm-none0").unwrap_err().to_string();
        assert_eq!(error, "no interface fm-none0; `ip link` lists what there is");
    }
}
