//! The lines of a histogram, which both formats write alike.

use std::fmt::{self, Write as _};

use crate::fleet::Counts;

/// The beginning of a family.
pub(super) fn family(out: &mut String, name: &str, help: &str) -> fmt::Result {
    write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n")
}

/// One series. `labels`: as they are written, at least one. `extra`: writes what follows on the line of each bucket.
pub(super) fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    counts: &Counts,
    mut extra: impl FnMut(&mut String) -> fmt::Result,
) -> fmt::Result {
    let mut count = 0;
    for (bound, more) in counts.buckets() {
        count += more;
        write!(out, "{name}_bucket{{{labels},le=\"{}\"}} {count}", Bound(bound))?;
        extra(out)?;
        out.push('\n');
    }
    write!(out, "{name}_sum{{{labels}}} {:?}\n{name}_count{{{labels}}} {count}\n", counts.sum())
}

/// The value of a label.
pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// A bound as OpenMetrics has it: always with a point.
struct Bound(f64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { write!(f, "{:?}", self.0) }
    }
}
