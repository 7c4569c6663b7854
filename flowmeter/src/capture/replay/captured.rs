//! Captures as a source of a replay.

use std::io::Read;

use flowmeter_common::Uncounted;

use super::{Gathered, Interfaces, Source};
use crate::capture::{
    link::Framing,
    pcap::Capture,
    problem::{Problem, What},
};

/// A pcap or pcapng file.
///
/// An interface is known by its name; one without a name by its place in the file (`capture0`), so that
/// files that were rotated are one observation point.
pub struct CaptureSource<R> {
    file: String,
    capture: Capture<R>,
    /// By the capture's interfaces, once a frame of one was met.
    known: Vec<Option<Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    ifindex: u32,
    /// `None` for a link type that cannot be read.
    framing: Option<Framing>,
}

impl<R: Read> CaptureSource<R> {
    /// `file` is the name that problems are told with.
    pub fn new(file: impl Into<String>, reader: R) -> Self {
        let file = file.into();
        Self {
            capture: Capture::new(file.clone(), reader),
            file,
            known: Vec::new(),
        }
    }

    /// Gets to know the interface at `index`; tells if its frames cannot be read.
    fn meet(&mut self, index: usize, interfaces: &mut Interfaces) -> Option<Problem> {
        let interface = self.capture.interfaces().get(index)?;
        let ifindex = match &interface.name {
            Some(name) => interfaces.ifindex(name),
            None => interfaces.ifindex(&format!("capture{}", interface.number)),
        };
        let framing = Framing::from_link_type(interface.link_type);
        if self.known.len() <= index {
            self.known.resize(index + 1, None);
        }
        if let Some(known) = self.known.get_mut(index) {
            *known = Some(Known { ifindex, framing });
        }
        framing.is_none().then(|| Problem {
            file: self.file.clone(),
            offset: self.capture.offset(),
            what: What::UnknownLinkType(interface.link_type),
        })
    }
}

impl<R: Read> Source for CaptureSource<R> {
    fn advance(&mut self) -> Result<Option<u64>, Problem> {
        self.capture.advance()
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<Problem> {
        let index = self.capture.frame().interface;
        let problem = match self.known.get(index) {
            Some(Some(_)) => None,
            _ => self.meet(index, interfaces),
        };
        let known = self.known.get(index).copied().flatten()?;
        let frame = self.capture.frame();
        let link = known
            .framing
            .ok_or(Uncounted::NotIp)
            .and_then(|framing| framing.link(frame.data));
        match link {
            Ok(link) => into.flows.frame(
                known.ifindex,
                link,
                frame.data,
                frame.original_length,
                frame.time_ns,
            ),
            Err(reason) => into.flows.uncounted(known.ifindex, reason, frame.original_length),
        }
        problem
    }
}
