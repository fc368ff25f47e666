//! Errors at start, and signals in the first moments.
