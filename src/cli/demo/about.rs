//! The demo's heading and the command to try: its clients and addresses in words.

use std::net::SocketAddr;

#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub clients: usize,
    /// The gateway's address for clients on this machine.
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
}

impl About {
    /// The heading, shortened to at most `width` columns if possible.
    pub(super) fn describe(&self, width: usize) -> String {
        let Self { clients, address, .. } = self;
        let name = "Evenkeel demo";
        let long = format!("{name}  {clients} clients ask http://{address}");
        let longer = self.admin.map(|admin| format!("{long}, status at http://{admin}/api/status"));
        let fitting = longer.into_iter().chain([long]).find(|text| text.len() <= width);
        fitting.unwrap_or_else(|| name.to_owned())
    }

    /// A command to paste while the demo runs; on two lines if one is too narrow.
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
    fn the_heading_is_shortened_to_the_width() {
        let admin = "127.0.0.1:9990".parse().ok();
        let about = About { clients: 24, address: "127.0.0.1:9999".parse().unwrap(), admin };
        assert!(about.describe(120).ends_with("9990/api/status"));
        assert_eq!(about.describe(64), "Evenkeel demo  24 clients ask http://127.0.0.1:9999");
        assert_eq!(about.describe(20), "Evenkeel demo");
        assert_eq!((about.curl(80).len(), about.curl(50).len()), (1, 2));
        assert!(about.curl(50)[0].ends_with('\\'));
    }
}
