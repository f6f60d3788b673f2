//! Medians and quartiles.

/// One figure, measured once a round.
#[derive(Default)]
pub(crate) struct Figure(Vec<f64>);

impl Figure {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// `median [first quartile .. third quartile]`.
    pub(crate) fn show(&self, digits: usize) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        format!("{median:.digits$} [{low:.digits$} .. {high:.digits$}]")
    }
}

/// The value below which that share of the ascending values lies, between two of them if need be.
pub(crate) fn quantile(ascending: &[f64], share: f64) -> f64 {
    let last = ascending.len() - 1;
    let at = share * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    ascending[below] + (ascending[above] - ascending[below]) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let mut figure = Figure::default();
        for value in [5.0, 1.0, 4.0, 2.0, 3.0] {
            figure.push(value);
        }
        assert_eq!(figure.show(1), "3.0 [2.0 .. 4.0]");
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
    }
}
