//! Captures in the oldest and most widely read format: pcap with microseconds, little endian, Ethernet.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{frame, packets::Packet};

const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: u32 = 2 | 4 << 16;
const SNAP_LENGTH: u32 = 262_144;
const ETHERNET: u32 = 1;

/// The latest start whose packets still have a time in such a file: 2100-01-01. Its seconds have 32 bits.
pub const LATEST_START: Duration = Duration::from_secs(4_102_444_800);

/// Writes all packets as a capture; `start` is since the Unix epoch.
///
/// # Errors
/// Those of the writer; a time after 2106.
pub fn write(packets: impl Iterator<Item = Packet>, start: Duration, out: &mut impl Write) -> io::Result<()> {
    for word in [MAGIC, VERSION, 0, 0, SNAP_LENGTH, ETHERNET] {
        out.write_all(&word.to_le_bytes())?;
    }
    let mut bytes = Vec::with_capacity(frame::MAX_BYTES);
    for packet in packets {
        frame::write(&packet, &mut bytes);
        let time = start + packet.after;
        let seconds = u32::try_from(time.as_secs()).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        for word in [seconds, time.subsec_micros(), length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&bytes)?;
    }
    out.flush()
}
