//! pcapng blocks (draft-ietf-opsawg-pcapng).

use std::io::Read;

use pcap_parser::{
    EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, SHB_MAGIC, SPB_MAGIC, nom,
    parse_enhancedpacketblock_be, parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_sectionheaderblock, parse_simplepacketblock_be,
    parse_simplepacketblock_le,
};

use super::{Capture, Clock, Format, Interface, Packet, Record, window};
use crate::capture::problem::What;

/// The packet block that the enhanced one replaced; old files have it.
const OLD_PACKET: u32 = 2;

impl<R: Read> Capture<R> {
    /// The block at the start of the window.
    pub(super) fn block(&mut self, big_endian: bool) -> Record {
        let data = self.window.data();
        let Some(&[t0, t1, t2, t3, l0, l1, l2, l3]) = data.first_chunk() else {
            return Record::Incomplete(8 - data.len().min(8));
        };
        let word = |bytes| {
            if big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        let kind = word([t0, t1, t2, t3]);
        if kind == SHB_MAGIC {
            return self.section();
        }
        let length = word([l0, l1, l2, l3]) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Record::Broken(What::Damaged);
        }
        if length > window::LIMIT {
            return Record::Broken(What::RecordTooLong { limit: window::LIMIT });
        }
        let Some(block) = data.get(..length) else {
            return Record::Incomplete(length - data.len());
        };
        let packet = match kind {
            IDB_MAGIC => return self.interface(big_endian, length),
            EPB_MAGIC => self.enhanced_packet(block, big_endian),
            SPB_MAGIC => self.simple_packet(block, big_endian),
            OLD_PACKET => self.old_packet(block, big_endian),
            _ => return Record::Other(length),
        };
        match packet {
            Ok(packet) => Record::Packet(length, packet),
            Err(what) => Record::Bad(length, what),
        }
    }

    fn section(&mut self) -> Record {
        match parse_sectionheaderblock(self.window.data()) {
            Ok((_, header)) => {
                let length = header.block_len1 as usize;
                self.format = Format::PcapNg {
                    big_endian: header.big_endian(),
                };
                // A section's interfaces are its own; those before stay for the frames already handed out.
                self.section_start = self.interfaces.len();
                Record::Other(length)
            }
            Err(nom::Err::Incomplete(nom::Needed::Size(missing))) if missing.get() <= window::LIMIT => {
                Record::Incomplete(missing.get())
            }
            Err(_) => Record::Broken(What::Damaged),
        }
    }

    fn interface(&mut self, big_endian: bool, length: usize) -> Record {
        let block = self.window.data().get(..length).unwrap_or_default();
        let parsed = if big_endian {
            parse_interfacedescriptionblock_be(block)
        } else {
            parse_interfacedescriptionblock_le(block)
        };
        let Ok((_, description)) = parsed else {
            // Every later interface would be taken for the one before it.
            return Record::Broken(What::Damaged);
        };
        let interface = Interface {
            number: self.interfaces.len() - self.section_start,
            link_type: u16::try_from(description.linktype.0).unwrap_or(u16::MAX),
            name: name(&description),
            snap_length: description.snaplen,
            clock: Clock::new(description.if_tsresol, offset_seconds(&description, big_endian)),
        };
        self.interfaces.push(interface);
        Record::Other(length)
    }

    fn enhanced_packet(&self, block: &[u8], big_endian: bool) -> Result<Packet, What> {
        let parsed = if big_endian {
            parse_enhancedpacketblock_be(block)
        } else {
            parse_enhancedpacketblock_le(block)
        };
        let (_, packet) = parsed.map_err(|_| What::DamagedPacket)?;
        let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
        self.packet(packet.if_id, Some(stamp), packet.origlen, 28, packet.caplen)
    }

    fn simple_packet(&self, block: &[u8], big_endian: bool) -> Result<Packet, What> {
        let parsed = if big_endian {
            parse_simplepacketblock_be(block)
        } else {
            parse_simplepacketblock_le(block)
        };
        let (_, packet) = parsed.map_err(|_| What::DamagedPacket)?;
        // The captured length is not told: it is the original one, the interface's limit, or the block's.
        let snap = match self
            .interfaces
            .get(self.section_start)
            .map(|interface| interface.snap_length)
        {
            None | Some(0) => u32::MAX,
            Some(length) => length,
        };
        let stored = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        self.packet(0, None, packet.origlen, 12, packet.origlen.min(snap).min(stored))
    }

    fn old_packet(&self, block: &[u8], big_endian: bool) -> Result<Packet, What> {
        let Some(&[_, _, _, _, _, _, _, _, i0, i1, _, _, ref rest @ ..]) = block.first_chunk::<28>() else {
            return Err(What::DamagedPacket);
        };
        let (words, _) = rest.as_chunks::<4>();
        let &[high, low, captured, original] = words else {
            return Err(What::DamagedPacket);
        };
        let word = |bytes| {
            if big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        let interface = if big_endian {
            u16::from_be_bytes([i0, i1])
        } else {
            u16::from_le_bytes([i0, i1])
        };
        let captured = word(captured);
        // What stands in front of the data, and the length behind it.
        if captured as usize > block.len() - 32 {
            return Err(What::DamagedPacket);
        }
        let stamp = u64::from(word(high)) << 32 | u64::from(word(low));
        self.packet(u32::from(interface), Some(stamp), word(original), 28, captured)
    }

    fn packet(
        &self,
        interface: u32,
        stamp: Option<u64>,
        original_length: u32,
        data_offset: usize,
        captured: u32,
    ) -> Result<Packet, What> {
        let index = self.section_start + interface as usize;
        let description = self
            .interfaces
            .get(index)
            .ok_or(What::UnknownInterface(interface))?;
        Ok(Packet {
            interface: index,
            time_ns: stamp
                .zip(description.clock)
                .and_then(|(stamp, clock)| clock.stamp(stamp)),
            original_length,
            data_offset,
            data_length: captured as usize,
        })
    }
}

fn name(description: &InterfaceDescriptionBlock) -> Option<String> {
    let option = description
        .options
        .iter()
        .find(|option| option.code == OptionCode::IfName)?;
    let bytes = option.as_bytes().ok()?;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Read here because pcap-parser 0.17 takes the bytes as little-endian always.
fn offset_seconds(description: &InterfaceDescriptionBlock, big_endian: bool) -> i64 {
    let option = description
        .options
        .iter()
        .find(|option| option.code == OptionCode::IfTsoffset);
    let bytes = option
        .and_then(|option| option.as_bytes().ok())
        .and_then(|bytes| bytes.first_chunk());
    match bytes {
        None => 0,
        Some(&bytes) if big_endian => i64::from_be_bytes(bytes),
        Some(&bytes) => i64::from_le_bytes(bytes),
    }
}
