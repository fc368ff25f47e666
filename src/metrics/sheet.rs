//! Families of metrics, written one after the other.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

/// The labels of a single series.
pub(super) const NONE: [(&str, &str); 0] = [];

/// In front of every name.
pub(super) const PREFIX: &str = "evenkeel";

pub(super) struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// A family without a series is left out.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, series, |mut one, value| one.encode_gauge(&value))
    }

    /// The same for counters. `name`: without its `_total`.
    pub(super) fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, series, |mut one, value| {
            one.encode_counter::<NoLabelSet, V, u64>(&value, None)
        })
    }

    fn family<L: EncodeLabelSet, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = (L, V)>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            write(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}
