//! Where nodes are: the addresses of those that are named by the config, and nodes that come from the sources of a pool.

mod dns;
mod files;
mod names;
mod resolver;

pub use self::dns::DnsSources;
pub use self::files::NodeFiles;
pub use self::names::NameResolver;
