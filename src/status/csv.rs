//! Nodes and events as CSV (RFC 4180), for a spreadsheet.

use super::history::{MarkStatus, Moment, marks};
use super::{NodeStatus, Snapshot};
use crate::history::History;
use crate::outcome::Outcome;

/// `GET /api/nodes?format=csv`: a line a node.
pub fn nodes_csv(snapshot: &Snapshot) -> String {
    let fixed = "pool,node,address,state,reason,ejected_for_seconds,in_flight,max_in_flight,weight,slow_start_share,ejections";
    let outcomes = Outcome::ALL.map(Outcome::as_str).map(|name| format!("attempts_{name}"));
    let mut csv = format!("{fixed},{}\r\n", outcomes.join(","));
    for pool in &snapshot.pools {
        for (node, taken) in
            pool.nodes.iter().zip(pool.nodes.iter().map(|node| NodeStatus::of(node, snapshot.moment())))
        {
            let or_empty = |value: Option<String>| value.unwrap_or_default();
            let mut fields = vec![
                pool.name.to_string(),
                taken.name,
                taken.address,
                taken.state.to_owned(),
                or_empty(taken.reason),
                or_empty(taken.ejected_for_seconds.map(|seconds| format!("{seconds:.3}"))),
                taken.in_flight.to_string(),
                or_empty(taken.max_in_flight.map(|limit| limit.to_string())),
                taken.weight.to_string(),
                taken.slow_start_share.to_string(),
                taken.ejections.to_string(),
            ];
            fields.extend(node.attempts.iter().map(u64::to_string));
            push_line(&mut csv, &fields);
        }
    }
    csv
}

/// `GET /api/events?format=csv`: a line an event, oldest first.
pub fn events_csv(history: &History, moment: Moment) -> String {
    let mut csv = String::from("time,pool,node,kind,text,in_flight\r\n");
    for MarkStatus { time, pool, node, kind, text, in_flight, .. } in marks(history, 0, moment) {
        let (pool, node) = (pool.unwrap_or_default(), node.unwrap_or_default());
        push_line(&mut csv, &[time, pool, node, kind.to_owned(), text, in_flight.to_string()]);
    }
    csv
}

fn push_line(csv: &mut String, fields: &[String]) {
    for (place, field) in fields.iter().enumerate() {
        csv.push_str(if place > 0 { "," } else { "" });
        if field.contains([',', '"', '\r', '\n']) {
            csv.push('"');
            csv.push_str(&field.replace('"', "\"\""));
            csv.push('"');
        } else {
            csv.push_str(field);
        }
    }
    csv.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut csv = String::new();
        push_line(&mut csv, &["a".into(), "b,c".into(), "say \"d\"\ne".into(), String::new()]);
        assert_eq!(csv, "a,\"b,c\",\"say \"\"d\"\"\ne\",\r\n");
    }
}
