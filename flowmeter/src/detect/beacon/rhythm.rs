//! What the gaps between contacts say, by order statistics: one night's sleep makes any mean worthless.

/// A gap that no beacon's rhythm can be told from.
const SHORTEST_NS: u64 = 500_000_000;

pub(super) fn quantile(sorted: &[u64], quarter: usize) -> u64 {
    let place = sorted.len().saturating_sub(1) * quarter / 4;
    sorted.get(place).copied().unwrap_or(0)
}

/// Median and median absolute deviation of ascending values.
pub(super) fn spread(sorted: &[u64]) -> (u64, u64) {
    let median = quantile(sorted, 2);
    let mut off: Vec<u64> = sorted.iter().map(|value| value.abs_diff(median)).collect();
    off.sort_unstable();
    (median, quantile(&off, 2))
}

/// What the gaps say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    pub(super) median_ns: u64,
    pub(super) mad_ns: u64,
    /// MAD over median, per cent.
    pub(super) jitter: u64,
    /// Bowley skew, per cent, 0 to 100.
    pub(super) skew: u64,
    /// Gaps that are one or several periods long, per cent.
    pub(super) on_lattice: u64,
    /// Of those, several.
    pub(super) missed: u64,
    /// How long they are together.
    pub(super) lasting_ns: u64,
    /// Gaps far off in both directions, per cent.
    pub(super) stray: u64,
}

impl Rhythm {
    pub(super) fn of(gaps: &[u64]) -> Option<Self> {
        let (median_ns, mad_ns) = spread(gaps);
        if gaps.len() < 5 || median_ns < SHORTEST_NS {
            return None;
        }
        let (low, high) = (quantile(gaps, 1), quantile(gaps, 3));
        let skew = match high - low {
            0 => 0,
            range => (low + high).abs_diff(2 * median_ns) * 100 / range,
        };
        let tolerance = (mad_ns * 3).max(median_ns / 10);
        let (mut on, mut missed, mut stray, mut lasting_ns) = (0, 0, 0, 0_u64);
        for gap in gaps {
            let beats = (gap + median_ns / 2) / median_ns;
            let near = gap.abs_diff(beats * median_ns) <= tolerance.min(median_ns * 2 / 5);
            if (1..=16).contains(&beats) && near {
                on += 1;
                lasting_ns = lasting_ns.saturating_add(*gap);
                missed += u64::from(beats > 1);
            } else {
                stray += 1;
            }
        }
        let all = gaps.len() as u64;
        Some(Self {
            median_ns,
            mad_ns,
            jitter: mad_ns * 100 / median_ns,
            skew,
            on_lattice: on * 100 / all,
            missed,
            lasting_ns,
            stray: stray * 100 / all,
        })
    }
}
