//! Reader of pcap and pcapng captures, over any byte stream.
//!
//! A frame check sequence or a pseudo header that a capture holds counts as part of the frame.

mod interface;
mod ng;
mod window;

use std::io::Read;

use pcap_parser::nom;

pub use interface::Interface;

use super::problem::{Problem, What};
use interface::Clock;
use window::{Fill, Window};

/// A frame as a capture holds it.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Index into [`Capture::interfaces`].
    pub interface: usize,
    /// Length on the wire; never less than that of `data`.
    pub original_length: u32,
    pub data: &'a [u8],
}

/// True if `head`, the first bytes of a file, is that of a pcap or pcapng file.
pub fn is_capture(head: &[u8]) -> bool {
    let Some(magic) = head.first_chunk() else {
        return false;
    };
    matches!(
        u32::from_le_bytes(*magic),
        0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34 | 0xd4c3_b2a1 | 0x4d3c_b2a1 | pcap_parser::SHB_MAGIC
    )
}

/// A capture that is read frame by frame.
pub struct Capture<R> {
    file: String,
    window: Window<R>,
    format: Format,
    interfaces: Vec<Interface>,
    /// Of pcapng's section: the index of its first interface.
    section_start: usize,
    current: Packet,
    /// Bytes of the record that `current` is in.
    record_length: usize,
    time_ns: u64,
    no_time_told: bool,
}

#[derive(Clone, Copy)]
enum Format {
    Unknown,
    Pcap {
        big_endian: bool,
        modified: bool,
    },
    PcapNg {
        big_endian: bool,
    },
    /// Nothing more can be read.
    Ended,
}

/// Where in its record a frame is.
#[derive(Clone, Copy, Default)]
struct Packet {
    interface: usize,
    /// `None` where the record has no time stamp that can be used.
    time_ns: Option<u64>,
    original_length: u32,
    data_offset: usize,
    data_length: usize,
}

/// What the bytes at the start of the window are.
enum Record {
    /// Not all there yet: at least this many bytes more are needed.
    Incomplete(usize),
    /// Of this many bytes, without a frame.
    Other(usize),
    Packet(usize, Packet),
    /// Of this many bytes; left out.
    Bad(usize, What),
    /// Nothing behind it can be told apart.
    Broken(What),
}

impl<R: Read> Capture<R> {
    /// `file` is the name that problems are told with. Nothing is read yet.
    pub fn new(file: impl Into<String>, reader: R) -> Self {
        Self {
            file: file.into(),
            window: Window::new(reader),
            format: Format::Unknown,
            interfaces: Vec::new(),
            section_start: 0,
            current: Packet::default(),
            record_length: 0,
            time_ns: 0,
            no_time_told: false,
        }
    }

    /// The interfaces that the file has described so far; the indices of earlier frames stay valid.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Where in the file the frame's record starts.
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// The frame that [`Self::advance`] went to.
    pub fn frame(&self) -> CapturedFrame<'_> {
        let Packet {
            interface,
            original_length,
            data_offset,
            data_length,
            ..
        } = self.current;
        let data = self
            .window
            .data()
            .get(data_offset..data_offset + data_length)
            .unwrap_or_default();
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        CapturedFrame {
            time_ns: self.time_ns,
            interface,
            original_length: original_length.max(captured),
            data,
        }
    }

    /// Goes to the next frame and returns its time, `None` at the end.
    ///
    /// # Errors
    /// What is wrong at this place. Calling again goes on with what can still be read, and ends.
    pub fn advance(&mut self) -> Result<Option<u64>, Problem> {
        self.window.consume(self.record_length);
        self.record_length = 0;
        loop {
            match self.record() {
                Record::Incomplete(missing) => {
                    if !self.fill(missing)? {
                        return Ok(None);
                    }
                }
                Record::Other(length) => self.window.consume(length),
                Record::Packet(length, packet) => {
                    self.current = packet;
                    if let Some(time_ns) = packet.time_ns {
                        self.time_ns = time_ns;
                    } else if !self.no_time_told {
                        // Told before the frame, which the next call finds again.
                        self.no_time_told = true;
                        return Err(self.problem(What::NoTime));
                    }
                    self.record_length = length;
                    return Ok(Some(self.time_ns));
                }
                Record::Bad(length, what) => {
                    let problem = self.problem(what);
                    self.window.consume(length);
                    return Err(problem);
                }
                Record::Broken(what) => return Err(self.end(what)),
            }
        }
    }

    /// False at the end of the file.
    fn fill(&mut self, missing: usize) -> Result<bool, Problem> {
        match self.window.fill() {
            Ok(Fill::More) => Ok(true),
            Ok(Fill::End) if matches!(self.format, Format::Ended) => Ok(false),
            Ok(Fill::End) if self.window.data().is_empty() && !matches!(self.format, Format::Unknown) => {
                self.format = Format::Ended;
                Ok(false)
            }
            Ok(Fill::End) if matches!(self.format, Format::Unknown) => Err(self.end(What::NotACapture)),
            Ok(Fill::End) => Err(self.end(What::Cut { missing })),
            Ok(Fill::Full) => Err(self.end(What::RecordTooLong { limit: window::LIMIT })),
            Err(error) => Err(self.end(What::Read(error))),
        }
    }

    fn end(&mut self, what: What) -> Problem {
        let problem = self.problem(what);
        self.format = Format::Ended;
        self.window.close();
        problem
    }

    fn problem(&self, what: What) -> Problem {
        Problem {
            file: self.file.clone(),
            offset: self.window.offset(),
            what,
        }
    }

    fn record(&mut self) -> Record {
        match self.format {
            Format::Unknown => self.file_header(),
            Format::Pcap { big_endian, modified } => self.pcap_record(big_endian, modified),
            Format::PcapNg { big_endian } => self.block(big_endian),
            Format::Ended => Record::Incomplete(0),
        }
    }

    fn file_header(&mut self) -> Record {
        let data = self.window.data();
        if data.len() < 4 {
            return Record::Incomplete(4 - data.len());
        }
        if !is_capture(data) {
            return Record::Broken(What::NotACapture);
        }
        if data.starts_with(&pcap_parser::SHB_MAGIC.to_le_bytes()) {
            // Both byte orders read a section header's type alike; the header itself tells its order.
            self.format = Format::PcapNg { big_endian: false };
            return Record::Other(0);
        }
        match pcap_parser::parse_pcap_header(data) {
            Ok((_, header)) => {
                let big_endian = header.is_bigendian();
                let modified = header.is_modified_format();
                let nanoseconds = header.is_nanosecond_precision();
                let length = header.size();
                // The upper half tells of a frame check sequence.
                let link_type = u16::try_from(header.network.0 & 0xffff).unwrap_or(u16::MAX);
                self.format = Format::Pcap { big_endian, modified };
                self.interfaces.push(Interface {
                    number: 0,
                    link_type,
                    name: None,
                    snap_length: header.snaplen,
                    clock: Some(Clock::per_second(if nanoseconds {
                        1_000_000_000
                    } else {
                        1_000_000
                    })),
                });
                Record::Other(length)
            }
            Err(nom::Err::Incomplete(nom::Needed::Size(missing))) => Record::Incomplete(missing.get()),
            Err(_) => Record::Broken(What::NotACapture),
        }
    }

    fn pcap_record(&self, big_endian: bool, modified: bool) -> Record {
        let data = self.window.data();
        if data.is_empty() {
            return Record::Incomplete(16);
        }
        let (parsed, header_length) = if big_endian {
            (pcap_parser::parse_pcap_frame_be(data), 16)
        } else if modified {
            (pcap_parser::parse_pcap_frame_modified(data), 24)
        } else {
            (pcap_parser::parse_pcap_frame(data), 16)
        };
        match parsed {
            Ok((_, frame)) => {
                let clock = self.interfaces.first().and_then(|interface| interface.clock);
                let packet = Packet {
                    interface: 0,
                    time_ns: clock.map(|clock| clock.seconds_and_fraction(frame.ts_sec, frame.ts_usec)),
                    original_length: frame.origlen,
                    data_offset: header_length,
                    data_length: frame.data.len(),
                };
                Record::Packet(header_length + frame.data.len(), packet)
            }
            Err(nom::Err::Incomplete(nom::Needed::Size(missing))) => {
                if missing.get() > window::LIMIT {
                    Record::Broken(What::RecordTooLong { limit: window::LIMIT })
                } else {
                    Record::Incomplete(missing.get())
                }
            }
            Err(_) => Record::Broken(What::Damaged),
        }
    }
}

#[cfg(test)]
mod tests;
