//! The one error of this crate: a sentence for the person who reads the report.

use std::fmt;

/// Why a case, or the harness itself, did not succeed.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a case ends with: a note (figures, counts) for the report, or the reason why it failed.
pub(crate) type Outcome = Result<String, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// Adds to an error what was being done when it happened.
pub(crate) trait While<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> While<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// Returns early with a [`Failure`] of the formatted text.
macro_rules! fail {
    ($($text:tt)*) => {
        return Err($crate::failure::Failure::new(format!($($text)*)))
    };
}

/// Fails with the formatted text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            $crate::failure::fail!($($text)*);
        }
    };
}

pub(crate) use {ensure, fail};
