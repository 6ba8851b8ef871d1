//! An inode as the ledger keeps it and as verbs answer it. Pure.
//!
//! Two domains own its fields. The *ledger* owns everything of a directory, and of every inode the
//! type, owner, mode, link count and explicit times. The *log* owns a regular file's bytes: size
//! and extents, and whatever a WRITE changes beside them (mtime, ctime, change, set-id bits). One
//! rule joins them: the later log sequence number wins ([`Inode::overlay`]).

use cache::world::Time;

/// Number of an inode. Given out once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

/// The root directory of every filesystem.
pub const ROOT: Ino = Ino(1);

/// What a handle names, after its MAC was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The inode.
    pub ino: Ino,
    /// Its generation; a handle with another one is stale.
    pub generation: u32,
}

/// What a handle of a filesystem's root names.
pub const ROOT_ID: FileId = FileId { ino: ROOT, generation: 1 };

/// Type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Regular file.
    File = 1,
    /// Directory.
    Directory = 2,
    /// Block device.
    BlockDevice = 3,
    /// Character device.
    CharDevice = 4,
    /// Symbolic link.
    Symlink = 5,
    /// Socket.
    Socket = 6,
    /// Named pipe.
    Fifo = 7,
}

/// Set-user-id bit of a mode.
pub const SETUID: u32 = 0o4000;
/// Set-group-id bit of a mode.
pub const SETGID: u32 = 0o2000;
/// Sticky bit of a mode.
pub const STICKY: u32 = 0o1000;

/// One inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Number.
    pub ino: Ino,
    /// Generation, part of the handle.
    pub generation: u32,
    /// Type.
    pub kind: Kind,
    /// Permission bits, the lower 12 bits only.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that point here (directories: 2 + subdirectories).
    pub nlink: u32,
    /// Device major and minor numbers.
    pub rdev: (u32, u32),
    /// Bytes: a file's length, a symlink's target length, a directory's nominal size.
    pub size: u64,
    /// Bytes of storage used.
    pub used: u64,
    /// Last access as set by clients (reads do not move it).
    pub atime: Time,
    /// Last change of the data.
    pub mtime: Time,
    /// Last change of data or attributes.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// Change attribute: the log sequence number of the last change. Never goes back.
    pub change: u64,
    /// Every log record of this file up to this log sequence number is in the ledger's extents.
    pub folded_lsn: u64,
    /// Directories: the parent; the root is its own. Files: [`Ino`] 0.
    pub parent: Ino,
    /// Directories: number of entries without `.` and `..`.
    pub entries: u64,
    /// Verifier of an EXCLUSIVE create, all eight bytes (RFC 1813 3.3.8).
    pub verifier: Option<[u8; 8]>,
}

/// What the log changed of a regular file's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogAttr {
    /// Length in bytes.
    pub size: u64,
    /// Time of the last write or truncate.
    pub mtime: Time,
    /// Same, as ctime.
    pub ctime: Time,
    /// Log sequence number of the last write or truncate.
    pub change: u64,
    /// A write by someone other than the superuser cleared set-id bits.
    pub clears_setid: bool,
}

impl Inode {
    /// What its handle names.
    pub fn id(&self) -> FileId {
        FileId { ino: self.ino, generation: self.generation }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Joins the log's view: size always, the rest where the log's change is the later one.
    pub fn overlay(&mut self, log: &LogAttr) {
        self.size = log.size;
        if log.change > self.change {
            self.mtime = log.mtime;
            self.ctime = log.ctime;
            self.change = log.change;
            if log.clears_setid {
                self.mode = without_setid(self.mode);
            }
        }
    }
}

/// The mode after a write or chown by someone other than the superuser: set-user-id goes, and
/// set-group-id goes where the group may execute (else it means mandatory locking).
pub fn without_setid(mode: u32) -> u32 {
    let cleared = mode & !SETUID;
    if mode & 0o010 != 0 { cleared & !SETGID } else { cleared }
}

/// The time of a change. NFSv3 clients see a change by its ctime alone (RFC 1813 2.6), so two
/// changes never share one and a core whose clock was read a little earlier does not turn it back;
/// a clock that was set back by more than that wins.
pub fn later(last: Time, now: Time) -> Time {
    if now > last || last.secs.saturating_sub(now.secs) > CLOCK_SKEW_SECS_MAX {
        return now;
    }
    match last.nanos.saturating_add(1) {
        nanos if nanos >= NANOS_PER_SEC => Time { secs: last.secs.saturating_add(1), nanos: 0 },
        nanos => Time { secs: last.secs, nanos },
    }
}

/// Between the clocks of two cores.
const CLOCK_SKEW_SECS_MAX: i64 = 1;
const NANOS_PER_SEC: u32 = 1_000_000_000;
