//! Scenarios with a script.
