//! Configs of other programs, translated: text in; out comes YAML with a comment at each setting that says which line it is from,
//! and notes on what was not translated and why.
//!
//! An importer draws up a [`Draft`], in which each entry has its [`Origin`]; [`settle`] writes it down, has it judged as `evenkeel
//! check` judges it, and takes out what the schema refuses, with a note. So a result is valid, whatever the input. What a file says
//! is translated as it says it, and warned of where it is a trap; for what it leaves out Evenkeel's defaults hold, and a
//! warning says where the other program's differ in a way that matters.

mod draft;
mod engine;
mod haproxy;
mod litellm;
mod nginx;
mod note;
mod settle;
mod source;
mod yaml;

pub use draft::{Draft, Item, Mapping, Value};
pub use haproxy::import as haproxy;
pub use litellm::import as litellm;
pub use nginx::import as nginx;
pub use note::{Kind, Note, Origin, Place, grouped};
pub use settle::{Check, Import, Refusal, settle};
pub use source::{Include, SourceFile};
