//! Why a verb was refused. Protocol-free; each protocol maps it to its own numbers.

/// A refusal, in the words of RFC 1813 2.6 and RFC 8881 15.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not the owner.
    Perm,
    /// No such name.
    NoEnt,
    /// The disk or the ledger failed.
    Io,
    /// No such device.
    NxIo,
    /// Permission denied.
    Access,
    /// The name is taken.
    Exist,
    /// The objects are on different filesystems.
    XDev,
    /// The operation does not fit a device.
    NoDev,
    /// Not a directory.
    NotDir,
    /// Is a directory.
    IsDir,
    /// Bad argument.
    Inval,
    /// Larger than a file may be.
    FileTooBig,
    /// No space left.
    NoSpace,
    /// The filesystem or the share is read-only.
    ReadOnly,
    /// Too many hard links.
    TooManyLinks,
    /// The name is longer than 255 bytes.
    NameTooLong,
    /// The directory is not empty.
    NotEmpty,
    /// Quota exceeded.
    Quota,
    /// The handle names something that is gone.
    Stale,
    /// The handle is not one of ours.
    BadHandle,
    /// The guard of SETATTR did not match.
    NotSync,
    /// The READDIR cookie is not one of ours.
    BadCookie,
    /// Not supported here.
    NotSupported,
    /// The reply does not fit the client's limit.
    TooSmall,
    /// We are wrong.
    ServerFault,
    /// The type of object is not supported.
    BadType,
    /// A queue is full or data is not at hand: try again later.
    Delay,
}
