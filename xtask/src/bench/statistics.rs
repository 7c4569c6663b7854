//! Repeated measurements of one figure.

/// The values of one figure, one a repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

/// A spread of more than this part of the median says more about the machine than about what was measured.
const NOISY: f64 = 0.25;

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The middle value, the mean of the two middle ones of an even number; NaN without any.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            middle(half)
        } else {
            f64::midpoint(middle(half.wrapping_sub(1)), middle(half))
        }
    }

    pub(super) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(super) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// True if the machine was too noisy to tell: the inner half of the repetitions spreads too far. One outlier
    /// makes no figure noisy.
    pub(super) fn noisy(&self) -> bool {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        let inner = sorted.get(quarter..sorted.len() - quarter).unwrap_or_default();
        match (inner.first(), inner.last()) {
            (Some(first), Some(last)) => last - first > NOISY * self.median().abs(),
            _ => true,
        }
    }

    /// Median, lowest and highest, as they stand in a table; `?` behind what is too noisy to tell.
    pub(super) fn shown(&self, decimals: usize) -> String {
        let (median, min, max) = (self.median(), self.min(), self.max());
        let mark = if self.noisy() { " ?" } else { "" };
        format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$}){mark}")
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        assert_eq!(samples(&[9.0, 1.0, 5.0]).median(), 5.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 9.0]).median(), 3.0);
        assert!(samples(&[]).median().is_nan());
    }

    #[test]
    fn one_outlier_does_not_make_a_figure_noisy_but_a_wide_middle_does() {
        assert!(!samples(&[100.0, 101.0, 102.0, 103.0, 300.0]).noisy());
        assert!(samples(&[100.0, 150.0, 200.0, 250.0, 300.0]).noisy());
        assert!(samples(&[]).noisy());
        assert_eq!(
            samples(&[100.0, 150.0, 200.0, 250.0, 300.0]).shown(0),
            "200 (100 to 300) ?"
        );
    }
}
