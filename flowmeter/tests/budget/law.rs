//! The conservation law of `docs/fields.md`, checked from the lines of a file alone.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a file holds, after the law was found to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) seen: Amount,
    pub(crate) exported: Amount,
    pub(crate) left_out: Amount,
    pub(crate) withheld: Amount,
    pub(crate) findings: Vec<String>,
    pub(crate) flows: u64,
    pub(crate) summaries: u64,
}

/// Packets and wire bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount(pub(crate) u64, pub(crate) u64);

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
        self.1 += other.1;
    }
}

impl std::ops::Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1)
    }
}

/// From one statistics event of an interface to the next.
#[derive(Debug, Default)]
struct Window {
    exported: Amount,
    summarised: Amount,
    /// Flow events and summaries that follow it.
    written: Amount,
    written_summaries: Amount,
    lines: u64,
    events: u64,
}

impl Window {
    #[track_caller]
    fn close(&self, withheld: Amount, withheld_lines: u64) {
        assert_eq!(self.written, self.exported - withheld, "{self:?}");
        assert!(
            self.lines <= self.events && self.events <= self.lines + withheld_lines,
            "{self:?}"
        );
        if withheld == Amount::default() {
            assert_eq!(self.written_summaries, self.summarised, "{self:?}");
        }
    }
}

/// Checks every interval of every interface; panics where something does not add up, or a line is not whole.
#[track_caller]
pub(crate) fn check(text: &str) -> Sums {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    let mut sums = Sums::default();
    let mut windows: BTreeMap<u64, Window> = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let action = event["event"]["action"].as_str().unwrap();
        match action {
            "anomaly_detected" => sums.findings.push(line.to_owned()),
            "network_flow" | "network_flow_summary" => {
                let point = ["ingress", "egress"]
                    .into_iter()
                    .find_map(|way| event["observer"].get(way))
                    .unwrap();
                let window = windows
                    .get_mut(&number(&point["interface"]["id"]))
                    .expect("statistics come before the flows of their interval");
                let network = amount(&event["network"]);
                window.written += network;
                window.lines += 1;
                if action == "network_flow" {
                    sums.flows += 1;
                } else {
                    sums.summaries += 1;
                    window.written_summaries += network;
                }
            }
            "statistics" => {
                let statistics = &event["flowmeter"];
                let mut terms = Amount::default();
                for term in ["exported", "left_out", "filtered", "sampled_out"] {
                    terms += amount(&statistics[term]);
                }
                for lost in statistics["lost"].as_object().unwrap().values() {
                    terms += amount(lost);
                }
                let seen = amount(&statistics["seen"]);
                assert_eq!(seen, terms, "{line}");
                let withheld = amount(&statistics["withheld"]);
                let new = Window {
                    exported: amount(&statistics["exported"]),
                    summarised: amount(&statistics["summarised"]),
                    events: number(&statistics["exported"]["events"]),
                    ..Window::default()
                };
                sums.seen += seen;
                sums.exported += new.exported;
                sums.left_out += amount(&statistics["left_out"]);
                sums.withheld += withheld;
                if let Some(window) = windows.insert(number(&statistics["interface"]["id"]), new) {
                    window.close(withheld, number(&statistics["withheld"]["lines"]));
                }
            }
            other => panic!("{other}"),
        }
    }
    for window in windows.values() {
        window.close(Amount::default(), 0);
    }
    sums
}

fn amount(value: &Value) -> Amount {
    Amount(number(&value["packets"]), number(&value["wire_bytes"]))
}

/// A large number stands as text in an event.
pub(crate) fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value
        .as_u64()
        .or(text)
        .unwrap_or_else(|| panic!("{value} is no count"))
}
