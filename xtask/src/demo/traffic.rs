//! Real traffic, through real sockets in both namespaces.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket},
};

use super::network::{
    INSIDE_MAC, INSIDE_V4, INSIDE_V4_FOR_NEIGHBOUR, INSIDE_V6, INTERFACE, NEIGHBOUR_V4, Network, OUTSIDE_MAC,
    OUTSIDE_V4, OUTSIDE_V6,
};
use crate::{namespace::Namespace, process, signals};

/// Nothing on a veth pair takes this long.
const LIMIT: Duration = Duration::from_secs(5);
pub(super) const VLAN: u16 = 42;
/// In three fragments at an MTU of 1500.
const LARGE_DATAGRAM: usize = 4000;

/// Each kind of traffic once.
pub(super) fn round(network: &Network) -> Result<()> {
    let (inside, outside) = (&network.inside, &network.outside);
    transfer(outside, inside, INSIDE_V4, 443, 1 << 20)?;
    transfer(outside, inside, INSIDE_V6, 22, 40_000)?;
    transfer(outside, inside, INSIDE_V4_FOR_NEIGHBOUR, 5985, 3_000)?;
    transfer(inside, outside, OUTSIDE_V4, 443, 200_000)?;
    transfer(inside, outside, OUTSIDE_V6, 443, 20_000)?;
    refused(outside, INSIDE_V4, 445)?;
    refused(outside, INSIDE_V6, 3389)?;
    question(inside, outside, OUTSIDE_V4, 53, 60)?;
    question(inside, outside, OUTSIDE_V6, 53, 60)?;
    question(inside, outside, NEIGHBOUR_V4, 123, 48)?;
    question(outside, inside, INSIDE_V4, 5000, LARGE_DATAGRAM)?;
    question(outside, inside, INSIDE_V6, 5000, LARGE_DATAGRAM)?;
    ping(outside, INSIDE_V4)?;
    ping(inside, OUTSIDE_V6)?;
    vlan_frames(outside, 3)
}

/// A client asks, a server answers with `bytes` and closes.
fn transfer(client: &Namespace, server: &Namespace, to: IpAddr, port: u16, bytes: u64) -> Result<()> {
    exchange(client, server, SocketAddr::new(to, port), 13, bytes)
}

/// A client sends `up` bytes, a server answers with `down` and closes.
pub(super) fn exchange(
    client: &Namespace,
    server: &Namespace,
    address: SocketAddr,
    up: u64,
    down: u64,
) -> Result<()> {
    signals::check()?;
    let exchanged = || -> io::Result<()> {
        let listener = server.inside(|| TcpListener::bind(address))?;
        let mut asking = client.inside(|| TcpStream::connect_timeout(&address, LIMIT))?;
        // The connection stands, so this returns at once.
        let (mut answering, _) = listener.accept()?;
        for stream in [&asking, &answering] {
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
        }
        let (asked, answered) = thread::scope(|scope| {
            // Moved, so that it is closed once all is sent.
            let answer = scope.spawn(move || {
                let asked = io::copy(&mut (&answering).take(up), &mut io::sink())?;
                answering.write_all(&bytes(down)?)?;
                Ok(asked)
            });
            let question = bytes(up).and_then(|question| asking.write_all(&question));
            let answered = question.and_then(|()| io::copy(&mut asking, &mut io::sink()));
            let asked = answer
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the server panicked")));
            asked.and_then(|asked| answered.map(|answered| (asked, answered)))
        })?;
        if (asked, answered) != (up, down) {
            return Err(io::Error::other(format!(
                "{asked} of {up} bytes arrived there, {answered} of {down} here"
            )));
        }
        Ok(())
    };
    exchanged().with_context(|| format!("sending {up} bytes over TCP to {address} and {down} back"))
}

fn bytes(count: u64) -> io::Result<Vec<u8>> {
    Ok(vec![b'x'; usize::try_from(count).map_err(io::Error::other)?])
}

/// A connection that nobody listens for.
pub(super) fn refused(client: &Namespace, to: IpAddr, port: u16) -> Result<()> {
    signals::check()?;
    let address = SocketAddr::new(to, port);
    match client.inside(|| TcpStream::connect_timeout(&address, LIMIT)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error).with_context(|| format!("connecting to the closed port {address}")),
        Ok(_) => bail!("the port {address}, which should be closed, is open"),
    }
}

/// One datagram there, one back.
fn question(client: &Namespace, server: &Namespace, to: IpAddr, port: u16, bytes: usize) -> Result<()> {
    questions(client, server, to, port, bytes, 1)
}

/// As many datagrams there and back, one after the other, over one socket.
pub(super) fn questions(
    client: &Namespace,
    server: &Namespace,
    to: IpAddr,
    port: u16,
    bytes: usize,
    count: usize,
) -> Result<()> {
    signals::check()?;
    let address = SocketAddr::new(to, port);
    let any = SocketAddr::new(
        match to {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        },
        0,
    );
    let exchange = || -> io::Result<()> {
        let answering = server.inside(|| UdpSocket::bind(address))?;
        let asking = client
            .inside(|| UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)))?;
        for socket in [&asking, &answering] {
            socket.set_read_timeout(Some(LIMIT))?;
        }
        let mut buffer = vec![0; bytes];
        for _ in 0..count {
            asking.send(&buffer)?;
            let (length, from) = answering.recv_from(&mut buffer)?;
            answering.send_to(buffer.get(..length).unwrap_or_default(), from)?;
            asking.recv(&mut buffer)?;
        }
        Ok(())
    };
    exchange().with_context(|| format!("exchanging {count} datagrams of {bytes} bytes with {address}"))
}

fn ping(from: &Namespace, to: IpAddr) -> Result<()> {
    signals::check()?;
    let mut ping = from.command("ping");
    ping.args(["-c", "3", "-i", "0.2", "-W", "2", "-q", &to.to_string()]);
    process::output(&mut ping).map(drop)
}

/// Frames with a VLAN tag, by hand: not every kernel has VLAN devices.
fn vlan_frames(from: &Namespace, count: usize) -> Result<()> {
    let frame = vlan_frame();
    let send = || -> io::Result<usize> {
        let index = if_nametoindex(INTERFACE)?;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        let address = link_address(index)?;
        let mut sent = 0;
        for _ in 0..count {
            sent += sendto(socket.as_raw_fd(), &frame, &address, MsgFlags::empty())?;
        }
        Ok(sent)
    };
    let sent = from.inside(send).context("sending VLAN frames")?;
    ensure!(
        sent == count * frame.len(),
        "only {sent} bytes of VLAN frames were sent"
    );
    Ok(())
}

fn link_address(index: libc::c_uint) -> io::Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: 0x8100_u16.to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a whole, initialised sockaddr_ll, `length` is its size, and it is copied.
    let converted = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    converted.ok_or_else(|| io::Error::other("no link-layer address"))
}

/// Ethernet, 802.1Q, IPv4, UDP to the syslog port.
fn vlan_frame() -> Vec<u8> {
    const MESSAGE: &[u8] = b"<14>a message from a VLAN";
    const UDP_LENGTH: u16 = 8 + 25;
    const { assert!(UDP_LENGTH as usize == 8 + MESSAGE.len()) };
    let udp = [
        &[0xc3, 0x50, 0x02, 0x02][..],
        &UDP_LENGTH.to_be_bytes(),
        &[0, 0],
        MESSAGE,
    ]
    .concat();
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (OUTSIDE_V4, INSIDE_V4) else {
        return Vec::new();
    };
    let mut ip = vec![0x45, 0];
    ip.extend((20 + UDP_LENGTH).to_be_bytes());
    ip.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(source.octets());
    ip.extend(destination.octets());
    let checksum = checksum(&ip);
    ip.splice(10..12, checksum.to_be_bytes());
    let tag = [&[0x81, 0][..], &VLAN.to_be_bytes(), &[0x08, 0]].concat();
    [&INSIDE_MAC[..], &OUTSIDE_MAC, &tag, &ip, &udp].concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum = words.iter().fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes(*word));
        sum + u16::from(carry)
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support;

    #[test]
    fn a_round_of_traffic_crosses_the_inner_interface() {
        if !support::root_or_skip("a_round_of_traffic_crosses_the_inner_interface") {
            return;
        }
        let network = Network::new().unwrap();
        let before = network.counters().unwrap();
        round(&network).unwrap();
        let packets = network.counters().unwrap() - before;
        // 1.3 MB in segments of 1448 bytes and less; three fragments each way, twice; pings; VLAN frames.
        assert!(packets > 900 + 12 + 12 + 3, "{packets} packets");
    }

    #[test]
    fn the_header_checksum_of_a_correct_header_is_zero() {
        let frame = vlan_frame();
        let header = &frame[18..38];
        assert_eq!(frame[12..18], [0x81, 0, 0, 42, 8, 0]);
        assert_ne!(header[10..12], [0, 0]);
        assert_eq!(checksum(header), 0);
    }

    #[test]
    fn the_length_fields_match_the_frame() {
        let frame = vlan_frame();
        let field = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        assert_eq!(field(20), frame.len() - 18);
        assert_eq!(field(42), frame.len() - 38);
    }
}
