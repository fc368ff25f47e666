//! The choice of a request's pool before its model counts: by the beginning of its path, or a field of its header.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;

use crate::config::{Config, HeaderChoice};

/// The reason for which a request has its pool, whatever its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The nodes get the path without it.
    Prefix(Arc<str>),
    Header(Arc<HeaderChoice>),
}

impl Choice {
    /// The target or path as nodes get it.
    pub fn stripped<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let Self::Prefix(prefix) = self else { return target.into() };
        match target.strip_prefix(prefix.as_bytes()) {
            Some(rest) if rest.starts_with(b"/") => rest.into(),
            Some(rest) => [b"/", rest].concat().into(),
            None => target.into(),
        }
    }

    fn chooses(&self, path: &str, headers: &HeaderMap) -> bool {
        match self {
            Self::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Header(header) => {
                let mut values = headers.get_all(&header.name).iter();
                values.any(|value| value.as_bytes().trim_ascii() == header.value.as_bytes())
            }
        }
    }
}

/// Each way to a pool, by its place in the config.
#[derive(Debug)]
pub(super) struct Choices(Vec<(Choice, usize)>);

impl Choices {
    pub(super) fn of(config: &Config) -> Self {
        let pools = || config.pools.iter().enumerate();
        let prefixes = pools().filter_map(|(place, conf)| {
            Some((Choice::Prefix(conf.chosen_by.path_prefix.as_deref()?.into()), place))
        });
        let headers = pools()
            .filter_map(|(place, conf)| Some((Choice::Header(conf.chosen_by.header.clone()?.into()), place)));
        Self(prefixes.chain(headers).collect())
    }

    /// A prefix goes before fields.
    pub(super) fn find(&self, path: &str, headers: &HeaderMap) -> Option<(&Choice, usize)> {
        let found = self.0.iter().find(|(choice, _)| choice.chooses(path, headers));
        found.map(|(choice, place)| (choice, *place))
    }

    pub(super) fn pool(&self, choice: &Choice) -> Option<usize> {
        self.0.iter().find(|(other, _)| other == choice).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_of_a_request() {
        let text = "server: { listen: 127.0.0.1:1 }\npools:\n  \
                    a: { nodes: [n:1], header: { name: X-Pool, value: a } }\n  \
                    b: { nodes: [n:1], path_prefix: /team-b, header: { name: X-Pool, value: b } }\n  \
                    c: { nodes: [n:1] }\n";
        let choices = Choices::of(&Config::parse(text, "t").expect("a config"));
        for (path, pool, want, node) in [
            ("/team-b/v1/x", "", Some(1), "/v1/x"),
            ("/team-b", "", Some(1), "/"),
            ("/team-b/", "a", Some(1), "/"),
            ("/team-bc/v1", "", None, ""),
            ("/v1/team-b", "a", Some(0), "/v1/team-b"),
            ("/v1", " b ", Some(1), "/v1"),
            ("/v1", "c", None, ""),
        ] {
            let headers = [("x-pool".parse().unwrap(), pool.parse().unwrap())].into_iter().collect();
            let found = choices.find(path, &headers);
            assert_eq!(found.map(|(_, place)| place), want, "{path} {pool}");
            if let Some((choice, place)) = found {
                assert_eq!(&*choice.stripped(path.as_bytes()), node.as_bytes(), "{path}");
                assert_eq!(choices.pool(choice), Some(place));
            }
        }
    }

    #[test]
    fn nodes_get_a_target_without_the_prefix() {
        let prefix = Choice::Prefix("/team".into());
        for (target, node) in [
            ("/team?a=b", "/?a=b"),
            ("/team/?a=b", "/?a=b"),
            ("/team/v1?a=/team", "/v1?a=/team"),
            ("/team/team/x", "/team/x"),
            ("/other?a=b", "/other?a=b"),
        ] {
            assert_eq!(&*prefix.stripped(target.as_bytes()), node.as_bytes(), "{target}");
        }
    }
}
