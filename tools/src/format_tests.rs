//! The format document against the code.
