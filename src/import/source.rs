//! Files that are imported, as the caller hands them over.

/// A file that is imported, or that such a file includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name in comments and notes.
    pub name: String,
    pub text: String,
}

/// Finds the files that a file includes, by the words with which it does: all that match, in the order in which they are read. The
/// error is for people.
pub type Include<'a> = &'a dyn Fn(&str) -> Result<Vec<SourceFile>, String>;
