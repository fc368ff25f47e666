//! A belief about the elasticity of a node's work: by how many per cent it grows with one per cent more in flight.

/// A normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    pub mean: f64,
    pub variance: f64,
}

impl Belief {
    /// Nothing is known of more in flight: mostly it does some more work.
    pub(super) const ABOVE: Self = Self { mean: 0.3, variance: 0.09 };
    /// Nothing is known of fewer.
    pub(super) const BELOW: Self = Self { mean: 0.5, variance: 0.16 };

    pub(super) fn deviation(self) -> f64 {
        self.variance.sqrt()
    }

    /// The belief after an observation with this variance.
    pub(super) fn after(self, observed: f64, variance: f64) -> Self {
        let part = self.variance / (self.variance + variance);
        Self { mean: self.mean + part * (observed - self.mean), variance: self.variance * (1.0 - part) }
    }

    /// The same belief, less sure by this, but not less than `nothing` is.
    pub(super) fn doubted(self, variance: f64, nothing: Self) -> Self {
        Self { variance: (self.variance + variance).min(nothing.variance), ..self }
    }
}
