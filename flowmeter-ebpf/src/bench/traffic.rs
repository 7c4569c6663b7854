//! Which flow a packet of the generator belongs to and what it looks like: shared by the program that writes the
//! packets and by whoever checks what a meter made of them. What was sent is computed, never captured.

/// Settings of one run. Every flow gets the same number of packets: the flows are visited in rounds, each round in
/// another order.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Traffic {
    /// 1 to [`MAX_FLOWS`].
    pub(crate) flows: u32,
    /// Number of the first flow, so that two generators can send different ones.
    pub(crate) first_flow: u32,
    /// Packets of each flow.
    pub(crate) rounds: u32,
    /// Where the packets are sent out.
    pub(crate) ifindex: u32,
    /// From one flow to the next, by round: each coprime to `flows`, so that a round visits every flow once.
    pub(crate) steps: [u32; ORDERS],
    /// Picoseconds between packets; 0: as fast as it goes.
    pub(crate) pause_ps: u64,
    pub(crate) ipv6: u32,
    /// [`SMALL`], [`MIXED`] or [`BIG`].
    pub(crate) sizes: u32,
}

/// Source addresses have 24 bits that tell flows apart.
pub(crate) const MAX_FLOWS: u32 = 1 << 24;
pub(crate) const ORDERS: usize = 4;

pub(crate) const SMALL: u32 = 0;
/// Of twelve flows seven have small packets, four packets of 590 bytes, one the largest ("simple IMIX").
pub(crate) const MIXED: u32 = 1;
pub(crate) const BIG: u32 = 2;

/// The largest Ethernet frame at an MTU of 1500, without the frame check sequence.
pub(crate) const LARGEST_FRAME: u32 = 1514;
pub(crate) const ETHERNET: u32 = 14;
pub(crate) const IPV4: u32 = 20;
pub(crate) const IPV6: u32 = 40;
pub(crate) const UDP: u32 = 8;
/// Makes 60 bytes with IPv4, the smallest frame.
const SMALL_PAYLOAD: u32 = 18;

/// Source of flow 0; the flow's number is added to the last 32 bits.
pub(crate) const SOURCE_V4: u32 = 0x0a00_0000;
/// RFC 2544's benchmark network.
pub(crate) const DESTINATION_V4: u32 = 0xc612_0000;
/// RFC 3849's documentation network; the last 32 bits as in IPv4.
pub(crate) const SOURCE_V6: [u32; 3] = [0x2001_0db8, 1, 0];
pub(crate) const DESTINATION_V6: [u32; 3] = [0x2001_0db8, 2, 0];
const DESTINATIONS: u32 = 509;

/// What tells a flow's packets from others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Last 32 bits of the addresses.
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// Length on L2, without the frame check sequence.
    pub(crate) frame_length: u32,
}

impl Traffic {
    /// Flow number `number` of all flows, from 0.
    #[inline(always)]
    pub(crate) fn flow(&self, number: u32) -> Flow {
        Flow {
            source: SOURCE_V4 + number % MAX_FLOWS,
            destination: DESTINATION_V4 + number % DESTINATIONS,
            source_port: 1024 + (number % 60000) as u16,
            destination_port: match number % 8 {
                0 => 53,
                1 => 80,
                2 => 443,
                3 => 445,
                4 => 22,
                5 => 3389,
                6 => 8080,
                _ => 9000,
            },
            frame_length: self.frame_length(number),
        }
    }

    #[inline(always)]
    pub(crate) fn smallest_frame(&self) -> u32 {
        let network = if self.ipv6 != 0 { IPV6 } else { IPV4 };
        ETHERNET + network + UDP + SMALL_PAYLOAD
    }

    /// What the generator starts from; shorter frames are cut.
    #[inline(always)]
    pub(crate) fn longest_frame(&self) -> u32 {
        if self.sizes == SMALL {
            self.smallest_frame()
        } else {
            LARGEST_FRAME
        }
    }

    #[inline(always)]
    fn frame_length(&self, number: u32) -> u32 {
        match (self.sizes, number % 12) {
            (BIG, _) | (MIXED, 11) => LARGEST_FRAME,
            (MIXED, 7..11) => 590,
            _ => self.smallest_frame(),
        }
    }
}
