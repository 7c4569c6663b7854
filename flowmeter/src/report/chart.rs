//! Charts as inline SVG: shapes and words with classes, so that one style sheet colours them for every screen and for
//! paper. Severity has a shape as well as a colour; the colours are those of Okabe and Ito, which the colour-blind
//! tell apart.

mod axis;

use jiff::Timestamp;
use maud::{Markup, html};

use super::{
    compose::words::{count, period, several, size},
    model::{ContactsChart, LanesChart, Severity, TimelineChart},
};
use axis::{Times, Values};

/// What a chart is drawn for; its own units are then about those of the screen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Wide,
    Narrow,
}

impl Room {
    const fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }

    const fn width(self) -> f64 {
        match self {
            Self::Wide => 976.0,
            Self::Narrow => 368.0,
        }
    }

    /// Left of the charts with values.
    const fn margin(self) -> f64 {
        match self {
            Self::Wide => 74.0,
            Self::Narrow => 62.0,
        }
    }
}

/// Right of everything, so that the last label is not cut.
const RIGHT: f64 = 16.0;
/// Below, for two lines of times.
const TIMES: f64 = 34.0;

/// One decimal is a tenth of a pixel.
fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn svg(room: Room, height: f64, label: &str, content: &Markup) -> Markup {
    let size = format!("0 0 {} {}", at(room.width()), at(height));
    html! {
        svg class=(room.class()) viewBox=(size) role="img" aria-label=(label) {
            (content)
        }
    }
}

/// The shape of a severity around a point.
pub(super) fn mark(severity: Severity, x: f64, y: f64, title: &str) -> Markup {
    let class = format!("mark {}", severity.name());
    let around = |points: &[(f64, f64)]| {
        let points: Vec<String> = points
            .iter()
            .map(|(right, down)| format!("{},{}", at(x + right), at(y + down)))
            .collect();
        points.join(" ")
    };
    html! {
        @match severity {
            Severity::High => polygon class=(class) points=(around(&[(0.0, -5.5), (5.5, 4.5), (-5.5, 4.5)])) {
                title { (title) }
            },
            Severity::Medium => polygon class=(class) points=(around(&[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)])) {
                title { (title) }
            },
            Severity::Low => circle class=(class) cx=(at(x)) cy=(at(y)) r="4" { title { (title) } },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
const fn float(value: u64) -> f64 {
    value as f64
}

/// Three panels over one axis: findings, bytes, packets.
pub(super) fn timeline(chart: &TimelineChart, room: Room) -> Markup {
    const MARKS: f64 = 36.0;
    const BYTES: f64 = 130.0;
    const PACKETS: f64 = 70.0;
    const BETWEEN: f64 = 40.0;
    let left = room.margin();
    let buckets = chart.buckets.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "at most 120")]
    let step = (room.width() - left - RIGHT) / buckets as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most 120")]
    let x = |index: usize| left + step * index as f64;
    let (bytes_top, packets_top) = (MARKS + BETWEEN, MARKS + BETWEEN + BYTES + BETWEEN);
    let bottom = packets_top + PACKETS;
    let largest = |of: fn(&super::timeline::Bucket) -> u64| chart.buckets.iter().map(of).max().unwrap_or(0);
    let bytes = Values::bytes(largest(|bucket| bucket.bytes), 4);
    let packets = Values::counts(largest(|bucket| bucket.packets), 2);
    let end = chart.start + chart.width * i64::try_from(buckets).unwrap_or(i64::MAX);
    let times = Times::new(chart.start, end, left, room.width() - RIGHT);
    let panel = |values: &Values,
                 top: f64,
                 height: f64,
                 class: &str,
                 of: fn(&super::timeline::Bucket) -> u64| {
        html! {
            @for (value, label) in values.ticks() {
                @let y = top + height - height * values.part(float(value));
                line class="grid" x1=(at(left)) x2=(at(room.width() - RIGHT)) y1=(at(y)) y2=(at(y)) {}
                text x=(at(left - 6.0)) y=(at(y + 4.0)) text-anchor="end" { (label) }
            }
            @for (index, bucket) in chart.buckets.iter().enumerate() {
                @let value = of(bucket);
                @if value > 0 {
                    // What is there is seen, however little it is.
                    @let tall = (height * values.part(float(value))).max(1.0);
                    rect class=(class) x=(at(x(index))) y=(at(top + height - tall)) width=(at((step - 1.0).max(0.8)))
                        height=(at(tall)) { title { (told(chart, index)) } }
                }
            }
        }
    };
    let content = html! {
        text class="name" x="0" y="12" { "Findings" }
        @for (index, bucket) in chart.buckets.iter().enumerate() {
            @if let Some(severity) = worst(bucket.findings) {
                (mark(severity, x(index) + step / 2.0, 28.0, &told(chart, index)))
            }
        }
        text class="name" x="0" y=(at(bytes_top - 16.0)) { "Bytes in " (width_name(chart.width)) }
        (panel(&bytes, bytes_top, BYTES, "bytes", |bucket| bucket.bytes))
        text class="name" x="0" y=(at(packets_top - 16.0)) { "Packets in " (width_name(chart.width)) }
        (panel(&packets, packets_top, PACKETS, "packets", |bucket| bucket.packets))
        (times.draw(bottom))
    };
    svg(
        room,
        bottom + TIMES,
        "Findings, bytes and packets by time",
        &content,
    )
}

/// The worst of what was found in a bucket.
pub(super) fn worst(findings: [u64; 3]) -> Option<Severity> {
    let found = Severity::ALL.into_iter().zip(findings).rev();
    found
        .into_iter()
        .find(|(_, count)| *count > 0)
        .map(|(severity, _)| severity)
}

pub(super) fn width_name(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

fn told(chart: &TimelineChart, index: usize) -> String {
    let Some(bucket) = chart.buckets.get(index) else {
        return String::new();
    };
    let start = chart.start + chart.width * i64::try_from(index).unwrap_or(0);
    let when = |second| Timestamp::from_second(second).unwrap_or_default();
    let mut told = format!(
        "{}: {}, {}",
        period(when(start), when(start + chart.width)),
        size(bucket.bytes),
        several(bucket.packets, "packet")
    );
    for (severity, number) in Severity::ALL.into_iter().zip(bucket.findings) {
        if number > 0 {
            told += &format!(", {} findings of {} severity", count(number), severity.name());
        }
    }
    told
}

/// The worse, the thicker.
const fn thickness(severity: Severity) -> f64 {
    match severity {
        Severity::Low => 4.0,
        Severity::Medium => 8.0,
        Severity::High => 13.0,
    }
}

/// What the bars of lanes look like.
pub(super) fn bar(severity: Severity) -> Markup {
    let high = thickness(severity);
    html! {
        rect class={ "span " (severity.name()) } width="12" y=(at((12.0 - high.min(12.0)) / 2.0)) height=(at(high.min(12.0))) rx="1" {}
    }
}

/// One lane for each kind, a bar for each episode.
pub(super) fn lanes(chart: &LanesChart, room: Room) -> Markup {
    let (left, lane, bar_top) = match room {
        Room::Wide => (272.0, 26.0, 7.0),
        Room::Narrow => (8.0, 40.0, 22.0),
    };
    #[expect(clippy::cast_precision_loss, reason = "one for each kind of finding")]
    let bottom = lane * chart.lanes.len() as f64 + 4.0;
    let times = Times::between(chart.from, chart.until, left, room.width() - RIGHT);
    let content = html! {
        (times.draw(bottom))
        @for (index, (name, bars)) in chart.lanes.iter().enumerate() {
            @let top = lane * f64::from(u32::try_from(index).unwrap_or(0));
            text class="name" x="0" y=(at(top + if room == Room::Wide { 17.0 } else { 15.0 })) { (name) }
            @for bar in bars {
                @let from = times.x(bar.from);
                @let wide = (times.x(bar.until) - from).max(4.0);
                @let high = thickness(bar.severity);
                rect class={ "span " (bar.severity.name()) } x=(at(from)) y=(at(top + bar_top + (12.0 - high) / 2.0))
                    width=(at(wide)) height=(at(high)) rx="2" {
                    title { (bar.severity.name()) ": " (bar.title) }
                }
            }
        }
    };
    svg(
        room,
        bottom + TIMES,
        "When each kind of finding went on",
        &content,
    )
}

/// A stroke for each contact, the findings above.
pub(super) fn contacts(chart: &ContactsChart, room: Room) -> Markup {
    let left = 8.0;
    let times = Times::between(chart.from, chart.until, left, room.width() - RIGHT);
    let content = html! {
        @for (time, severity) in &chart.findings {
            (mark(*severity, times.x(*time), 10.0, &format!("finding of {} severity", severity.name())))
        }
        @for time in &chart.contacts {
            @let x = at(times.x(*time));
            line class="contact" x1=(x) x2=(x) y1="22" y2="52" { title { (time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()) } }
        }
        (times.draw(56.0))
    };
    svg(room, 56.0 + TIMES, &chart.label, &content)
}
