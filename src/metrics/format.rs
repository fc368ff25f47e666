//! The formats of the text, and which of them a client wants.

/// A format of `GET /metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0, which has exemplars too.
    OpenMetrics,
}

impl Format {
    /// The format for a request with this `Accept`: OpenMetrics only where it is named, and liked no less than plain text.
    pub fn of(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        let liking = |kind: &str| {
            let ranges = accept.split(',').filter(|range| {
                let name = range.split(';').next().unwrap_or_default();
                name.trim().eq_ignore_ascii_case(kind)
            });
            ranges.map(quality).fold(0.0, f64::max)
        };
        let open = liking("application/openmetrics-text");
        let plain = liking("text/plain");
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The weight of a media range (RFC 9110 section 12.4.2). 0 where it cannot be read.
fn quality(range: &str) -> f64 {
    let value = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    value.map_or(1.0, |value| value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_likes() {
        use Format::{OpenMetrics, Prometheus};
        let debian = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, want) in [
            (None, Prometheus),
            (Some("*/*"), Prometheus),
            (Some("text/plain;version=0.0.4"), Prometheus),
            (Some(debian), OpenMetrics),
            (Some("Application/OpenMetrics-Text"), OpenMetrics),
            (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Prometheus),
            (Some("application/openmetrics-text;q=0.3, text/plain;q=0.5"), Prometheus),
            (Some("application/openmetrics-text; Q=x"), Prometheus),
            (Some("text/html, application/openmetrics-textual"), Prometheus),
        ] {
            assert_eq!(Format::of(accept), want, "{accept:?}");
        }
    }
}
