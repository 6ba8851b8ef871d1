//! Who may do what: permission bits, ownership, the sticky bit, and the ACCESS verb. Pure.
//!
//! Callers: the ledger's verbs, READ, WRITE, SETATTR, ACCESS. POSIX rules as Linux applies them; the
//! superuser passes every check but one: executing needs an execute bit.

use crate::cred::Cred;
use crate::inode::{Inode, STICKY};
use crate::status::Status;

/// Permission to read.
pub const READ: u32 = 4;
/// Permission to write.
pub const WRITE: u32 = 2;
/// Permission to execute, of a directory to search.
pub const EXECUTE: u32 = 1;

/// ACCESS bit: read data, or list a directory (RFC 1813 3.3.4, as the five below).
pub const ACCESS_READ: u32 = 0x01;
/// ACCESS bit: look up a name in a directory.
pub const ACCESS_LOOKUP: u32 = 0x02;
/// ACCESS bit: rewrite data, or change entries of a directory.
pub const ACCESS_MODIFY: u32 = 0x04;
/// ACCESS bit: write new data, or add entries to a directory.
pub const ACCESS_EXTEND: u32 = 0x08;
/// ACCESS bit: delete an entry of a directory.
pub const ACCESS_DELETE: u32 = 0x10;
/// ACCESS bit: execute a file.
pub const ACCESS_EXECUTE: u32 = 0x20;

/// Whether `cred` has all permissions of `want` ([`READ`], [`WRITE`], [`EXECUTE`]) on `inode`.
pub fn permits(inode: &Inode, cred: &Cred, want: u32) -> bool {
    if cred.is_root() {
        let runs_file = want & EXECUTE != 0 && !inode.is_directory();
        return !runs_file || inode.mode & 0o111 != 0;
    }
    let granted = if cred.uid == inode.uid {
        inode.mode >> 6
    } else if cred.is_member(inode.gid) {
        inode.mode >> 3
    } else {
        inode.mode
    };
    granted & want == want
}

/// Whether `cred` owns `inode` or is the superuser.
pub fn is_owner(inode: &Inode, cred: &Cred) -> bool {
    cred.is_root() || cred.uid == inode.uid
}

/// Whether `cred` belongs to group `gid` or is the superuser: who may keep or set a set-group-id bit.
pub fn is_in_group(gid: u32, cred: &Cred) -> bool {
    cred.is_root() || cred.is_member(gid)
}

/// A name of `dir` may be looked up.
pub fn search(dir: &Inode, cred: &Cred) -> Result<(), Status> {
    require(permits(dir, cred, EXECUTE), Status::Access)
}

/// Entries of `dir` may be added.
pub fn extend(dir: &Inode, cred: &Cred) -> Result<(), Status> {
    require(permits(dir, cred, WRITE | EXECUTE), Status::Access)
}

/// The entry of `dir` that leads to `victim` may be taken away: in a sticky directory only by the
/// owner of either.
pub fn remove(dir: &Inode, victim: &Inode, cred: &Cred) -> Result<(), Status> {
    extend(dir, cred)?;
    let sticky = dir.mode & STICKY != 0;
    require(!sticky || is_owner(dir, cred) || is_owner(victim, cred), Status::Perm)
}

/// The entries of `dir` may be listed.
pub fn list(dir: &Inode, cred: &Cred) -> Result<(), Status> {
    require(permits(dir, cred, READ), Status::Access)
}

/// The data of `file` may be read. Its owner always may, because the client checked when it opened
/// the file (RFC 1813 4.4), and so may who may execute it: a client reads what it runs.
pub fn read_data(file: &Inode, cred: &Cred) -> Result<(), Status> {
    let granted = is_owner(file, cred) || permits(file, cred, READ) || permits(file, cred, EXECUTE);
    require(granted, Status::Access)
}

/// The data of `file` may be written or its length set. Its owner always may (RFC 1813 4.4).
pub fn write_data(file: &Inode, cred: &Cred) -> Result<(), Status> {
    require(is_owner(file, cred) || permits(file, cred, WRITE), Status::Access)
}

/// ACCESS: which of the bits `asked` are granted (RFC 1813 3.3.4). Bits that do not fit the type of
/// the object, or are unknown, are not granted. Pure; a read-only share takes bits away later.
pub fn access(inode: &Inode, cred: &Cred, asked: u32) -> u32 {
    let rights: &[(u32, u32)] = if inode.is_directory() {
        &[
            (ACCESS_READ, READ),
            (ACCESS_LOOKUP, EXECUTE),
            (ACCESS_MODIFY, WRITE | EXECUTE),
            (ACCESS_EXTEND, WRITE | EXECUTE),
            (ACCESS_DELETE, WRITE | EXECUTE),
        ]
    } else {
        &[(ACCESS_READ, READ), (ACCESS_MODIFY, WRITE), (ACCESS_EXTEND, WRITE), (ACCESS_EXECUTE, EXECUTE)]
    };
    let granted = rights.iter().filter(|(_, want)| permits(inode, cred, *want));
    granted.fold(0, |bits, (bit, _)| bits | bit) & asked
}

fn require(granted: bool, status: Status) -> Result<(), Status> {
    if granted { Ok(()) } else { Err(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inode::{Ino, Kind};
    use cache::world::Time;

    fn inode(kind: Kind, mode: u32, uid: u32, gid: u32) -> Inode {
        let time = Time::default();
        Inode {
            ino: Ino(7),
            generation: 1,
            kind,
            mode,
            uid,
            gid,
            nlink: 1,
            rdev: (0, 0),
            size: 0,
            used: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            change: 0,
            folded_lsn: 0,
            parent: Ino(1),
            entries: 0,
            verifier: None,
        }
    }

    #[test]
    fn only_the_first_class_that_fits_counts() {
        let file = inode(Kind::File, 0o077, 5, 6);
        assert!(!permits(&file, &Cred::new(5, 6, &[]), READ), "the owner class denies");
        assert!(permits(&file, &Cred::new(9, 6, &[]), READ | WRITE | EXECUTE));
        let file = inode(Kind::File, 0o707, 5, 6);
        assert!(!permits(&file, &Cred::new(9, 1, &[2, 6]), READ), "an auxiliary group denies");
        assert!(permits(&file, &Cred::new(9, 1, &[2]), READ));
    }

    #[test]
    fn the_sixteenth_auxiliary_group_counts() {
        let groups: Vec<u32> = (100..116).collect();
        let file = inode(Kind::File, 0o040, 5, 115);
        assert!(permits(&file, &Cred::new(9, 9, &groups), READ));
    }

    #[test]
    fn root_executes_only_what_someone_may_execute() {
        assert!(!permits(&inode(Kind::File, 0o666, 5, 6), &Cred::root(), EXECUTE));
        assert!(permits(&inode(Kind::File, 0o010, 5, 6), &Cred::root(), EXECUTE));
        assert!(permits(&inode(Kind::Directory, 0, 5, 6), &Cred::root(), READ | WRITE | EXECUTE));
    }

    #[test]
    fn a_sticky_directory_protects_the_files_of_others() {
        let dir = inode(Kind::Directory, 0o1777, 1, 1);
        let victim = inode(Kind::File, 0o666, 5, 5);
        assert_eq!(remove(&dir, &victim, &Cred::new(9, 9, &[])), Err(Status::Perm));
        for (uid, why) in [(5, "file owner"), (1, "directory owner"), (0, "root")] {
            assert_eq!(remove(&dir, &victim, &Cred::new(uid, 9, &[])), Ok(()), "{why}");
        }
        let closed = inode(Kind::Directory, 0o1755, 1, 1);
        assert_eq!(remove(&closed, &victim, &Cred::new(5, 9, &[])), Err(Status::Access));
    }

    #[test]
    fn an_owner_reads_and_writes_whatever_the_mode_says() {
        let file = inode(Kind::File, 0, 5, 5);
        assert_eq!(read_data(&file, &Cred::new(5, 5, &[])), Ok(()));
        assert_eq!(write_data(&file, &Cred::new(5, 5, &[])), Ok(()));
        assert_eq!(write_data(&file, &Cred::new(6, 5, &[])), Err(Status::Access));
        let program = inode(Kind::File, 0o711, 5, 5);
        assert_eq!(read_data(&program, &Cred::new(6, 6, &[])), Ok(()), "it may run it");
    }

    #[test]
    fn access_grants_what_fits_the_type() {
        let cred = Cred::new(5, 5, &[]);
        let dir = inode(Kind::Directory, 0o700, 5, 5);
        assert_eq!(access(&dir, &cred, 0x3f), 0x1f);
        assert_eq!(access(&inode(Kind::Directory, 0o500, 5, 5), &cred, 0x3f), 0x03);
        assert_eq!(access(&inode(Kind::File, 0o600, 5, 5), &cred, 0x3f), 0x0d);
        assert_eq!(access(&inode(Kind::File, 0o700, 5, 5), &cred, !0), 0x2d);
        assert_eq!(access(&dir, &cred, ACCESS_LOOKUP), ACCESS_LOOKUP);
    }
}
