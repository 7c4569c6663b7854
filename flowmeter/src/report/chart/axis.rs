//! Scales: round values upwards, round times to the right.

use jiff::Timestamp;
use maud::{Markup, html};

use super::at;
use crate::report::compose::words::count;

/// Seconds between two labels.
const STEPS: [i64; 24] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    2_592_000,
    7_776_000,
    31_536_000,
    315_360_000,
];
/// Between two labels, at least.
const LABEL: f64 = 72.0;

/// A scale from 0 to at least the largest value.
pub(super) struct Values {
    step: u64,
    top: u64,
    name: fn(u64) -> String,
}

impl Values {
    /// In steps of 1, 2 or 5 times a power of ten of a binary unit.
    pub(super) fn bytes(largest: u64, ticks: u64) -> Self {
        let mut unit = 1;
        while largest / unit >= 1024 {
            unit *= 1024;
        }
        Self::new(largest, ticks, unit, binary)
    }

    pub(super) fn counts(largest: u64, ticks: u64) -> Self {
        Self::new(largest, ticks, 1, count)
    }

    fn new(largest: u64, ticks: u64, unit: u64, name: fn(u64) -> String) -> Self {
        let largest = largest.max(1);
        let enough = |step: &u64| largest.div_ceil(*step) <= ticks;
        let steps = std::iter::successors(Some(unit), |ten: &u64| ten.checked_mul(10))
            .flat_map(|ten| [1, 2, 5].map(|times| ten.saturating_mul(times)));
        let step = steps.clone().find(enough).unwrap_or(u64::MAX);
        let top = step.saturating_mul(largest.div_ceil(step));
        Self { step, top, name }
    }

    /// Values and what they are called, 0 first.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (u64, String)> {
        (0..=self.top / self.step).map(|number| {
            let value = self.step * number;
            (value, (self.name)(value))
        })
    }

    /// 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
    pub(super) const fn part(&self, value: f64) -> f64 {
        value / self.top as f64
    }
}

/// Without decimals: for whole numbers of a unit.
fn binary(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    let mut value = bytes;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        unit = larger;
    }
    format!("{value} {unit}")
}

/// A scale of time.
pub(super) struct Times {
    /// Seconds since the Unix epoch.
    from: f64,
    until: f64,
    left: f64,
    right: f64,
}

impl Times {
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(super) const fn new(from: i64, until: i64, left: f64, right: f64) -> Self {
        Self {
            from: from as f64,
            until: until as f64,
            left,
            right,
        }
    }

    /// Nowhere of no length.
    pub(super) fn between(from: Timestamp, until: Timestamp, left: f64, right: f64) -> Self {
        let until = until
            .as_second()
            .saturating_add(1)
            .max(from.as_second().saturating_add(2));
        Self::new(from.as_second(), until, left, right)
    }

    pub(super) fn x(&self, time: Timestamp) -> f64 {
        self.place(time.as_duration().as_secs_f64())
    }

    fn place(&self, second: f64) -> f64 {
        let part = (second - self.from) / (self.until - self.from).max(1.0);
        self.left + (self.right - self.left) * part.clamp(0.0, 1.0)
    }

    /// The axis with its labels, below `y`: the time of day, and the date where it is a new one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "pixels"
    )]
    pub(super) fn draw(&self, y: f64) -> Markup {
        let labels = ((self.right - self.left) / LABEL).max(1.0);
        let lasting = self.until - self.from;
        let step = STEPS.into_iter().find(|step| lasting / *step as f64 <= labels);
        let step = step.unwrap_or_else(|| (lasting / labels) as i64 + 1);
        let first = (self.from / step as f64).ceil() as i64 * step;
        let mut day = String::new();
        let mut ticks = Vec::new();
        let mut second = first;
        while second as f64 <= self.until {
            let time = Timestamp::from_second(second).unwrap_or_default();
            let date = time.strftime("%Y-%m-%d").to_string();
            let clock = match step {
                86_400.. => String::new(),
                60.. => time.strftime("%H:%M").to_string(),
                _ => time.strftime("%H:%M:%S").to_string(),
            };
            let new_day = date != day;
            day.clone_from(&date);
            ticks.push((self.place(second as f64), clock, new_day.then_some(date)));
            second = second.saturating_add(step);
        }
        let count = ticks.len();
        html! {
            line class="axis" x1=(at(self.left)) x2=(at(self.right)) y1=(at(y)) y2=(at(y)) {}
            @for (index, (x, clock, date)) in ticks.iter().enumerate() {
                @let anchor = if *x < 36.0 { "start" } else if index + 1 == count && self.right - x < 20.0 { "end" } else { "middle" };
                @let text_x = match anchor { "start" => *x - 4.0, "end" => *x + 14.0, _ => *x };
                line class="axis" x1=(at(*x)) x2=(at(*x)) y1=(at(y)) y2=(at(y + 4.0)) {}
                text x=(at(text_x)) y=(at(y + 16.0)) text-anchor=(anchor) { (clock) }
                @if let Some(date) = date {
                    text x=(at(text_x)) y=(at(y + if clock.is_empty() { 16.0 } else { 30.0 })) text-anchor=(anchor) { (date) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_round_and_few_and_reach_over_the_largest() {
        for (largest, ticks, expected) in [
            (0, 4, vec!["0", "1 B"]),
            (1023, 4, vec!["0", "500 B", "1000 B", "1500 B"]),
            (3 << 20, 4, vec!["0", "1 MiB", "2 MiB", "3 MiB"]),
            (900 << 10, 4, vec!["0", "500 KiB", "1000 KiB"]),
        ] {
            let values = Values::bytes(largest, ticks);
            let names: Vec<String> = values.ticks().map(|(_, name)| name).collect();
            assert_eq!(names, expected);
            assert!(values.top >= largest);
        }
        for largest in [1, 7, 99, 20_001, u64::MAX] {
            let values = Values::counts(largest, 2);
            assert!(values.ticks().count() <= 3 && values.top >= largest, "{largest}");
        }
    }
}
