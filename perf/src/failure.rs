//! What can go wrong in a measurement. Everything here ends the run with a message: a figure that came out of a
//! half-failed run is worse than none.

use std::fmt;
use std::io;
use wire::Malformed;
use wire::nfs3::{Nfsstat3, Procedure, Res};
use wire::record::RecordError;

/// The result of everything in this crate.
pub(crate) type Outcome<T> = Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    /// The server's bytes are no reply.
    Malformed(Malformed),
    Record(RecordError),
    /// The server refused a call that has to work.
    Refused {
        procedure: Procedure,
        status: Nfsstat3,
    },
    Said(String),
}

impl Failure {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Malformed(error) => write!(f, "reply: {error}"),
            Self::Record(error) => write!(f, "record: {error}"),
            Self::Refused { procedure, status } => write!(f, "{}: {}", procedure.name(), status.name()),
            Self::Said(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Says what was being done when it failed.
pub(crate) trait While<T> {
    fn during(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> While<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::Said(format!("{what}: {}", error.into())))
    }
}

/// The body of a result that went well.
pub(crate) fn accepted<Ok, Fail>(procedure: Procedure, res: Res<Ok, Fail>) -> Outcome<Ok> {
    match res {
        Res::Ok(body) => Ok(body),
        Res::Fail(status, _) => Err(Failure::Refused { procedure, status }),
    }
}
