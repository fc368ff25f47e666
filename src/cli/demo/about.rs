//! The demo's heading and the command to try: its clients and addresses in words.

use std::net::SocketAddr;

use super::cast::Cast;

#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub cast: Cast,
    /// The gateway's address for clients on this machine.
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
}

impl About {
    /// The heading, shortened to at most `width` columns if possible.
    pub(super) fn describe(&self, width: usize) -> String {
        let Self { cast, address, .. } = self;
        let name = "Evenkeel demo";
        let short = format!("{name}  {}", cast.describe());
        let long = format!("{short} ask http://{address}");
        let longer = self.admin.map(|admin| format!("{long}, status at http://{admin}/api/status"));
        let short = cast.line().map(|_| short);
        let fitting = longer.into_iter().chain([long]).chain(short).find(|text| text.len() <= width);
        fitting.unwrap_or_else(|| name.to_owned())
    }

    /// A command to paste while the demo runs; on two lines if one is too narrow.
    pub(super) fn curl(&self, width: usize) -> Vec<String> {
        let command = format!("curl -i http://{}/v1/completions", self.address);
        let class = if self.cast.line().is_some() { "-H 'X-Priority: interactive' " } else { "" };
        let rest = format!(r#"{class}-d '{{"prompt":"Hello"}}'"#);
        if command.len() + 1 + rest.len() <= width {
            vec![format!("{command} {rest}")]
        } else {
            vec![format!("{command} \\"), rest]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cast::Line;
    use super::*;

    #[test]
    fn the_heading_is_shortened_to_the_width() {
        let admin = "127.0.0.1:9990".parse().ok();
        let about = About { cast: Cast::Alike(24), address: "127.0.0.1:9999".parse().unwrap(), admin };
        assert!(about.describe(120).ends_with("9990/api/status"));
        assert_eq!(about.describe(64), "Evenkeel demo  24 clients ask http://127.0.0.1:9999");
        assert_eq!(about.describe(20), "Evenkeel demo");
        assert_eq!((about.curl(80).len(), about.curl(50).len()), (1, 2));
        assert!(about.curl(50)[0].ends_with('\\'));

        let line = Line { slots: 8, reserve: 25 };
        let about = About { cast: Cast::Classes { people: 3, batch: 40, line }, ..about };
        let long = "Evenkeel demo  3 people and a batch of 40 ask http://127.0.0.1:9999";
        assert_eq!((about.describe(70).as_str(), about.describe(66).as_str()), (long, &long[..41]));
        assert!(about.curl(80)[1].starts_with("-H 'X-Priority: interactive' -d"));
    }
}
