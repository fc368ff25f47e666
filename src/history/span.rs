//! The three spans of time that a history keeps, each in bins of its own width.

/// A span of time up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// 5 minutes in bins of 1 s.
    Minutes,
    /// 1 hour in bins of 10 s.
    Hour,
    /// 24 hours in bins of 4 minutes.
    Day,
}

impl Span {
    pub const ALL: [Self; 3] = [Self::Minutes, Self::Hour, Self::Day];

    /// The width of a bin in seconds.
    pub const fn step(self) -> u64 {
        match self {
            Self::Minutes => 1,
            Self::Hour => 10,
            Self::Day => 240,
        }
    }

    /// The number of bins.
    pub const fn bins(self) -> u64 {
        match self {
            Self::Minutes => 300,
            Self::Hour | Self::Day => 360,
        }
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> u64 {
        self.step() * self.bins()
    }

    /// The bins up to the one that this second is in, the oldest first. A history begins with bin 0.
    pub fn window(self, second: u64) -> std::ops::RangeInclusive<u64> {
        let last = second / self.step();
        (last + 1).saturating_sub(self.bins())..=last
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    /// The span of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.as_str() == name)
    }
}
