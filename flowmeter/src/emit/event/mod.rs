//! Events as lines of JSON: the only place that knows field names. `docs/fields.md` describes each of them.
//!
//! Every line starts with `{"@timestamp"`, and the fields that rules match on come first. There is no
//! top-level `timestamp`, `event_type`, `id`, `type`, `action`, `url`, `status` or `data`: Wazuh's stock
//! rules and its alert format claim these.

mod cursor;
mod finding;
mod flow;
mod line;
mod merged;
mod number;
mod statistics;
mod value;
mod wording;

use std::cell::Cell;

use serde::Serialize;

pub(in crate::emit) use self::flow::has_ports;
pub use self::statistics::{FileFacts, IntervalFacts, OutputFacts, Withheld};
use crate::{
    config::{Config, Schema},
    detect::Finding,
    emit::FlowSummary,
    emit::event::{
        cursor::ROOM,
        number::Day,
        value::{Counter, Duration, Nanoseconds, Words},
    },
    enrich::Enriched,
    flow::{InterfaceStatistics, Slice},
};

/// The ECS version whose names and units the `ecs` schema follows.
const ECS_VERSION: &str = "8.17.0";

/// Turns slices and statistics into lines. Holds what is the same in every event.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: Schema,
    collector: String,
    sampling: u32,
    synthetic: bool,
    /// The day that was named last.
    day: Cell<Day>,
}

impl Encoder {
    pub fn new(config: &Config) -> Self {
        Self {
            schema: config.output.schema,
            collector: config.collector.name.clone(),
            sampling: config.capture.sampling,
            synthetic: false,
            day: Cell::default(),
        }
    }

    /// Takes over a changed configuration.
    pub fn reconfigure(&mut self, config: &Config) {
        *self = Self {
            synthetic: self.synthetic,
            ..Self::new(config)
        };
    }

    /// From now on every flow and finding says that its traffic was made up, so that nobody takes it for real.
    pub fn mark_synthetic(&mut self) {
        self.synthetic = true;
    }

    /// Appends one flow event, without its line end. `interface` is the name of the slice's interface.
    ///
    /// `@timestamp` is the last packet of the slice; in the closing event of a connection that was silent
    /// in the interval, the last packet of the connection. So an event's time never depends on the drain
    /// interval or on when the timeout was noticed, and a replay writes the same bytes.
    ///
    /// # Errors
    /// None that is known of; serde's signature has one.
    pub fn flow<'a>(
        &'a self,
        slice: &Slice,
        enriched: &Enriched<'a>,
        interface: &'a str,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let mut room = [0; ROOM];
        let length = self.flow_into(slice, enriched, interface, &mut room);
        match length.and_then(|length| room.get(..length)) {
            Some(line) => {
                out.extend_from_slice(line);
                Ok(())
            }
            None => self.flow_by_serde(slice, enriched, interface, out),
        }
    }

    /// Writes one flow event into `room`, as [`Encoder::flow`] does, and tells its length. `None` for the few that are
    /// left to [`Encoder::flow_by_serde`]: what has to be escaped, or does not fit.
    pub(in crate::emit) fn flow_into(
        &self,
        slice: &Slice,
        enriched: &Enriched<'_>,
        interface: &str,
        room: &mut [u8; ROOM],
    ) -> Option<usize> {
        line::write(self, slice, enriched, interface, room)
    }

    /// The same bytes by serde: the definition of the event that [`Encoder::flow`] is held to, many times as slow.
    ///
    /// # Errors
    /// None that is known of; serde's signature has one.
    pub fn flow_by_serde<'a>(
        &'a self,
        slice: &Slice,
        enriched: &Enriched<'a>,
        interface: &'a str,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        serde_json::to_writer(out, &flow::FlowEvent::new(self, slice, enriched, interface))
    }

    /// Appends the event of flows that were merged, without its line end. `service` is the name of their port, if
    /// they have but one; `interface` the name of their interface.
    ///
    /// # Errors
    /// None that is known of; serde's signature has one.
    pub fn summary<'a>(
        &'a self,
        summary: &FlowSummary,
        service: Option<&'a str>,
        interface: &'a str,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        serde_json::to_writer(out, &merged::SummaryEvent::new(self, summary, service, interface))
    }

    /// Appends one finding event, without its line end. Its time is that of the last evidence.
    ///
    /// # Errors
    /// None that is known of; serde's signature has one.
    pub fn finding(&self, finding: &Finding, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, &finding::FindingEvent::new(self, finding))
    }

    /// Appends one interface's statistics event, without its line end.
    ///
    /// With these the conservation law can be checked from the file alone. For every event, in packets and
    /// in wire bytes:
    ///
    /// `seen = exported + left_out + sum(lost.*) + filtered + sampled_out`
    ///
    /// and the flow events and summaries of this interface between this event and its next one add up to `exported`
    /// less the `withheld` of the next one. `summarised` is a view into `exported` and `spill` one into
    /// `lost.map_full`: no terms.
    ///
    /// # Errors
    /// None that is known of; serde's signature has one.
    pub fn statistics(
        &self,
        interface: &InterfaceStatistics,
        facts: &IntervalFacts<'_>,
        output: &OutputFacts<'_>,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        serde_json::to_writer(
            out,
            &statistics::StatisticsEvent::new(self, interface, facts, output),
        )
    }

    const fn counter(&self, value: u64) -> Counter {
        Counter::new(value, self.schema)
    }

    /// What `counted` stands for where packets are sampled.
    fn estimated(&self, counted: u64) -> Option<Counter> {
        (self.sampling > 1).then(|| self.counter(counted.saturating_mul(u64::from(self.sampling))))
    }

    /// `value` in the article's shape for Wazuh 4, nothing in ECS.
    fn wazuh4<T>(&self, value: T) -> Option<T> {
        (self.schema == Schema::Wazuh4).then_some(value)
    }

    fn labels(&self) -> Option<Labels> {
        self.synthetic.then_some(Labels { synthetic: "true" })
    }

    fn ecs_version(&self) -> Option<EcsVersion> {
        self.ecs_only(EcsVersion { version: ECS_VERSION })
    }

    /// The reverse of [`Self::wazuh4`].
    fn ecs_only<T>(&self, value: T) -> Option<T> {
        (self.schema == Schema::Ecs).then_some(value)
    }
}

/// `event.*`.
#[derive(Serialize)]
struct Event {
    kind: &'static str,
    action: &'static str,
    r#type: Words,
    category: Words,
    start: Nanoseconds,
    end: Nanoseconds,
    duration: Duration,
}

/// `labels.*`; ECS wants keywords.
#[derive(Serialize)]
struct Labels {
    synthetic: &'static str,
}

/// An object with nothing but a name.
#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct EcsVersion {
    version: &'static str,
}

/// `observer.*`: who saw it, and where it passed.
#[derive(Serialize)]
struct Observer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<ObservationPoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<ObservationPoint<'a>>,
}

impl<'a> Observer<'a> {
    fn new(encoder: &'a Encoder, ifindex: u32, initiator_egress: bool, interface: &'a str) -> Self {
        let point = ObservationPoint {
            interface: Interface {
                id: encoder.counter(u64::from(ifindex)),
                name: interface,
            },
        };
        let (ingress, egress) = if initiator_egress {
            (None, Some(point))
        } else {
            (Some(point), None)
        };
        Self {
            name: encoder.ecs_only(encoder.collector.as_str()),
            ingress,
            egress,
        }
    }
}

#[derive(Serialize)]
struct ObservationPoint<'a> {
    interface: Interface<'a>,
}

#[derive(Serialize)]
struct Interface<'a> {
    id: Counter,
    name: &'a str,
}
