//! What the demo is, for its headings.

use std::net::SocketAddr;

#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub clients: usize,
    /// Where clients on this machine reach the gateway.
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
}

impl About {
    /// In one line of at most so many columns, if that is possible.
    pub(super) fn describe(&self, width: usize) -> String {
        let Self { clients, address, .. } = self;
        let name = "Evenkeel demo";
        let long = format!("{name}  {clients} clients ask http://{address}");
        let longer = self.admin.map(|admin| format!("{long}, status at http://{admin}/api/status"));
        let fitting = longer.into_iter().chain([long]).find(|text| text.len() <= width);
        fitting.unwrap_or_else(|| name.to_owned())
    }

    /// A command that a person can paste meanwhile; on two lines where one is not wide enough.
    pub(super) fn curl(&self, width: usize) -> Vec<String> {
        let command = format!("curl -i http://{}/v1/completions", self.address);
        let body = r#"-d '{"prompt":"Hello"}'"#;
        if command.len() + 1 + body.len() <= width {
            vec![format!("{command} {body}")]
        } else {
            vec![format!("{command} \\"), body.to_owned()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_there_is_room_for() {
        let admin = "127.0.0.1:9990".parse().ok();
        let about = About { clients: 24, address: "127.0.0.1:9999".parse().unwrap(), admin };
        assert!(about.describe(120).ends_with("9990/api/status"));
        assert_eq!(about.describe(64), "Evenkeel demo  24 clients ask http://127.0.0.1:9999");
        assert_eq!(about.describe(20), "Evenkeel demo");
        assert_eq!((about.curl(80).len(), about.curl(50).len()), (1, 2));
        assert!(about.curl(50)[0].ends_with('\\'));
    }
}
