//! flowmeter's own event file, in both schemas, back to slices: `docs/fields.md` says what each field means.
//!
//! Statistics are read over, since what they count is counted anew, and so are findings.

mod event;

pub(crate) use event::Count;
use event::Event;

use super::{
    Fault, Parsed, Parser, Wrong,
    json::{Object, Value},
};
use crate::{
    capture::{
        problem::What,
        replay::{Gathered, Interfaces},
    },
    flow::Slice,
};

pub struct EventParser {
    slice: Slice,
    interface: String,
    synthetic: bool,
    sampling: u32,
    sampling_told: bool,
}

impl Default for EventParser {
    fn default() -> Self {
        Self {
            slice: Slice::default(),
            interface: String::new(),
            synthetic: false,
            sampling: 1,
            sampling_told: false,
        }
    }
}

impl EventParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// What the last line held, with the interface index that it was written with.
    pub const fn slice(&self) -> &Slice {
        &self.slice
    }
}

impl Parser for EventParser {
    fn parse(&mut self, line: &[u8]) -> Result<Parsed, Fault> {
        if line.trim_ascii().is_empty() {
            return Ok(Parsed::Other);
        }
        match action(line)? {
            b"network_flow" => {}
            b"network_flow_summary" => return Err(Fault::Summary),
            _ => return Ok(Parsed::Other),
        }
        let event: Event<'_> =
            serde_json::from_slice(line).map_err(|error| Fault::NoEvent { at: error.column() })?;
        self.slice = event.slice()?;
        let (name, sampling) = event.point();
        self.sampling = sampling;
        self.synthetic = event.synthetic();
        self.interface.clear();
        self.interface.push_str(name);
        Ok(Parsed::Flow(time_ns(&self.slice)))
    }

    fn count(&mut self, into: &mut Gathered, interfaces: &mut Interfaces) -> Option<What> {
        let ifindex = interfaces.ifindex(&self.interface);
        let slice = Slice {
            ifindex,
            ..self.slice.clone()
        };
        into.slice(slice, self.synthetic);
        if self.sampling <= 1 || self.sampling_told {
            return None;
        }
        self.sampling_told = true;
        Some(What::Sampled { rate: self.sampling })
    }
}

/// `event.action`.
fn action(line: &[u8]) -> Result<&[u8], Fault> {
    let mut object = Object::new(line)?;
    let mut found = None;
    while let Some((key, value)) = object.next()? {
        if key == b"event"
            && let Value::Nested(inner) = value
        {
            let mut inner = Object::new(inner)?;
            while let Some((key, value)) = inner.next()? {
                if key == b"action" {
                    found = Some(value.scalar());
                }
            }
        }
    }
    found.ok_or(Fault::field("event.action", Wrong::Missing))
}

/// The slice's last packet, or the connection's where the slice has none: its `@timestamp` to the nanosecond.
fn time_ns(slice: &Slice) -> u64 {
    match slice.forward.last_ns.max(slice.reverse.last_ns) {
        0 => slice.last_ns,
        last_ns => last_ns,
    }
}

#[cfg(test)]
mod tests;
