//! Another node, or not.
