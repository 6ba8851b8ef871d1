//! What the ledger is asked and what it answers. Plain values that cross threads.
//!
//! Callers: the filesystem's verbs (asks), the checkpoint (folds), the log (segments). A command is
//! checked and applied inside one LMDB transaction together with many others; its answer is sent
//! after the commit. A request that is refused leaves no trace; one that took effect is answered the
//! same way when it is replayed ([`Answer::replayed`]).

use crate::cred::Cred;
use crate::inode::{FileId, Ino, Inode, Kind, LogAttr};
use crate::status::Status;
use cache::extent::{Extent, SegmentId};
use cache::world::Time;

/// Longest name of a directory entry, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest target of a symbolic link, in bytes.
pub const TARGET_MAX: usize = 4095;

/// A checked name: 1 to [`NAME_MAX`] bytes, without `/` and NUL, neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_MAX],
    count: u8,
}

impl Name {
    /// Checks a name that is to be made, removed or renamed.
    pub fn new(raw: &[u8]) -> Result<Name, Status> {
        if raw.len() > NAME_MAX {
            return Err(Status::NameTooLong);
        }
        if raw.is_empty() || raw.iter().any(|&byte| byte == b'/' || byte == 0) {
            return Err(Status::Access);
        }
        if raw == b"." || raw == b".." {
            return Err(Status::Inval);
        }
        let mut bytes = [0; NAME_MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Name { bytes, count: raw.len() as u8 })
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count)]
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The server's clock.
    Server,
    /// The client's value.
    Client(Time),
}

/// Attributes to be set; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length. The ledger ignores it on SETATTR: truncation is a log record.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the data.
    pub mtime: Option<SetTime>,
}

/// How CREATE treats a name that is taken (RFC 1813 3.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateHow {
    /// An existing regular file is the answer (its attributes untouched; the caller truncates).
    Unchecked,
    /// An existing name is an error.
    Guarded,
    /// An existing file with the same verifier is the answer.
    Exclusive([u8; 8]),
}

/// A change of the namespace or of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make a regular file.
    Create { dir: FileId, name: Name, how: CreateHow, attr: SetAttr },
    /// Make a directory.
    Mkdir { dir: FileId, name: Name, attr: SetAttr },
    /// Make a symbolic link; the target is 1 to [`TARGET_MAX`] bytes without NUL.
    Symlink { dir: FileId, name: Name, attr: SetAttr, target: Box<[u8]> },
    /// Make a device, socket or fifo.
    Mknod { dir: FileId, name: Name, attr: SetAttr, kind: Kind, rdev: (u32, u32) },
    /// Remove a name that is not a directory.
    Remove { dir: FileId, name: Name },
    /// Remove an empty directory.
    Rmdir { dir: FileId, name: Name },
    /// Rename, over an existing target where POSIX allows it.
    Rename { from_dir: FileId, from_name: Name, to_dir: FileId, to_name: Name },
    /// Make a hard link.
    Link { file: FileId, dir: FileId, name: Name },
    /// Set attributes other than the size.
    Setattr { file: FileId, attr: SetAttr, guard: Option<Time> },
}

/// Identifies a request for the duplicate-request cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// Hash of the client's address (without port).
    pub client: u64,
    /// Transaction id of the call.
    pub xid: u32,
    /// Checksum of program, procedure, credential and arguments.
    pub arguments: u64,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub cred: Cred,
    /// The core's clock when it asked.
    pub now: Time,
    /// Set for operations that must take effect exactly once.
    pub replay: Option<ReplayKey>,
    /// What is asked.
    pub verb: Verb,
}

/// Attributes of a directory before and after, from the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wcc {
    /// Before; `None` where they could not be read.
    pub before: Option<Inode>,
    /// After.
    pub after: Option<Inode>,
}

/// The answer to an [`Ask`]. Stored with its effect under the [`ReplayKey`], so that a replay gets
/// the same answer, also after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it took effect.
    pub status: Result<(), Status>,
    /// The object made, found, linked or set, after the operation. CREATE Unchecked on an existing
    /// file answers it with `existed` set.
    pub object: Option<Inode>,
    /// The name was there before (CREATE Unchecked or Exclusive).
    pub existed: bool,
    /// SETATTR: the object before.
    pub before: Option<Inode>,
    /// The directory (RENAME: of the source).
    pub dir: Option<Wcc>,
    /// RENAME: the directory of the target.
    pub to_dir: Option<Wcc>,
    /// The request had taken effect before, and this is what was answered then. Whoever does more
    /// than the ledger did (a truncation that goes with CREATE or SETATTR) must not do it again once
    /// the object has changed since.
    pub replayed: bool,
}

/// A file's log records up to `lsn`, all of them durable, to be moved into the ledger.
#[derive(Clone, Debug)]
pub struct Fold {
    /// The file. When it is gone or of another generation, the fold is dropped.
    pub id: FileId,
    /// The last log sequence number covered.
    pub lsn: u64,
    /// The shortest length since the last fold: extents at and after it are dropped first.
    pub cut: Option<u64>,
    /// New extents by file offset, not overlapping; they replace what they cover.
    pub extents: Vec<(u64, Extent)>,
    /// The attributes as of `lsn`.
    pub attr: LogAttr,
}

/// Where the replay of a core's log begins. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayFrom {
    /// The core.
    pub core: u16,
    /// The segment. The core's segments that were opened earlier need no replay. It may be a segment
    /// of another core, for a core that is no longer used.
    pub segment: SegmentId,
    /// First block of the segment to replay.
    pub block: u32,
}

/// A segment as the ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its name.
    pub id: SegmentId,
    /// Slot file that holds it.
    pub slot: u32,
    /// Core that writes or wrote it.
    pub core: u16,
    /// First block that replay reads; `None` when all of it is folded.
    pub replay_from: Option<u32>,
    /// Bytes of the ledger's extents that lie in it.
    pub live_bytes: u64,
}

/// Who may take a segment when few are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Data: refused when only the reserve is left.
    Data,
    /// Truncation, recovery, cleaning: may take from the reserve.
    Reserve,
}

/// What a core sends.
#[derive(Clone, Debug)]
pub enum Job {
    /// A client's request.
    Ask(Box<Ask>),
    /// Files whose log records are to be folded, and how far that brings the core's log. Each file is
    /// folded or not by itself; where one is refused, `from` is left alone.
    Fold { files: Vec<Fold>, from: Option<ReplayFrom> },
    /// A fresh segment for a core to write.
    OpenSegment { core: u16, urgency: Urgency },
    /// Frees the extents of removed files, some at a time; also frees segments without live bytes.
    Sweep,
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Done {
    /// To [`Job::Ask`].
    Answer(Box<Answer>),
    /// To [`Job::Fold`].
    Folded,
    /// To [`Job::OpenSegment`]; `fresh` tells that the slot was never given out before, so that its
    /// file must be made first. After a crash the file of a slot that is not fresh may be missing too.
    Segment { info: SegmentInfo, fresh: bool },
    /// To [`Job::Sweep`]: whether more is left to sweep.
    Swept { more: bool },
    /// The job could not be done: no space, or the ledger failed ([`Status::Io`], for ever).
    Refused(Status),
}

/// What a commit changed, for the lock table.
#[derive(Clone, Debug)]
pub enum Publish {
    /// An inode's new record.
    Inode(Inode),
    /// An inode is gone.
    Gone(Ino),
    /// A fold took everything up to `lsn`.
    Folded { inode: Inode, lsn: u64 },
}
