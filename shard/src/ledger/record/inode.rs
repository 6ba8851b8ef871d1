//! Records of `inodes`. Content of the value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind, as [`Kind`] numbers it |
//! | 1 | 1 | flags: bit 0 a verifier follows (files), bit 1 the object has a device number |
//! | 2 | 2 | mode, the lower 12 bits |
//! | 4 | 4 | uid |
//! | 8 | 4 | gid |
//! | 12 | 4 | nlink |
//! | 16 | 4 | generation |
//! | 20 | 4 × 12 | atime, mtime, ctime, btime: seconds i64, nanoseconds u32 |
//! | 68 | 8 | change |
//!
//! then of a file: size u64, used u64, folded lsn u64, and with flag 0 its verifier, 8 bytes; of a
//! directory: parent u64, entries u64 (its size follows from them, [`directory_bytes`]); of a
//! symbolic link: size u64; of a device (flag 1): major u32, minor u32.

use super::{Corrupt, Fields, Key, Table, begin, ino_key, key_u64s, open, put_time, seal};
use crate::inode::{Ino, Inode, Kind};

/// Nominal size of a directory with `entries` entries: one block, and one more for each 64.
pub fn directory_bytes(entries: u64) -> u64 {
    (entries / ENTRIES_PER_BLOCK + 1).saturating_mul(DIRECTORY_BLOCK_BYTES)
}

/// Key of an inode.
pub fn key(ino: Ino) -> Key<12> {
    ino_key(ino)
}

/// The inode that a key names.
pub fn parse_key(key: &[u8]) -> Result<Ino, Corrupt> {
    let [ino] = key_u64s(Table::Inodes, key)?;
    Ok(Ino(ino))
}

/// Writes the value of `inode` into `out`.
pub fn encode(inode: &Inode, out: &mut Vec<u8>) {
    begin(out);
    put(inode, out);
    seal(key(inode.ino).as_bytes(), out);
}

/// Checks and reads the value of inode `ino`.
pub fn decode(ino: Ino, value: &[u8]) -> Result<Inode, Corrupt> {
    let mut fields = open(Table::Inodes, key(ino).as_bytes(), value)?;
    let inode = take(ino, &mut fields)?;
    fields.end()?;
    Ok(inode)
}

/// Appends the content without the number; shared with stored replies.
pub(super) fn put(inode: &Inode, out: &mut Vec<u8>) {
    let has_rdev = inode.rdev != (0, 0);
    let flags = u8::from(inode.verifier.is_some()) * FLAG_VERIFIER + u8::from(has_rdev) * FLAG_RDEV;
    out.push(inode.kind as u8);
    out.push(flags);
    out.extend_from_slice(&((inode.mode & MODE_BITS) as u16).to_le_bytes());
    for field in [inode.uid, inode.gid, inode.nlink, inode.generation] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for time in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
        put_time(out, time);
    }
    let mut put_u64 = |field: u64| out.extend_from_slice(&field.to_le_bytes());
    put_u64(inode.change);
    match inode.kind {
        Kind::File => [inode.size, inode.used, inode.folded_lsn].into_iter().for_each(&mut put_u64),
        Kind::Directory => [inode.parent.0, inode.entries].into_iter().for_each(&mut put_u64),
        Kind::Symlink => put_u64(inode.size),
        Kind::BlockDevice | Kind::CharDevice | Kind::Socket | Kind::Fifo => {}
    }
    if let Some(verifier) = inode.verifier {
        out.extend_from_slice(&verifier);
    }
    if has_rdev {
        out.extend_from_slice(&inode.rdev.0.to_le_bytes());
        out.extend_from_slice(&inode.rdev.1.to_le_bytes());
    }
}

/// Reads what [`put`] wrote.
pub(super) fn take(ino: Ino, fields: &mut Fields<'_>) -> Result<Inode, Corrupt> {
    let kind = kind(fields.u8()?).ok_or(fields.corrupt("kind of inode"))?;
    let flags = fields.u8()?;
    let mode = u32::from(fields.u16()?);
    if flags & !(FLAG_VERIFIER | FLAG_RDEV) != 0 || mode & !MODE_BITS != 0 {
        return Err(fields.corrupt("unknown bits"));
    }
    let mut inode = Inode {
        ino,
        kind,
        mode,
        uid: fields.u32()?,
        gid: fields.u32()?,
        nlink: fields.u32()?,
        generation: fields.u32()?,
        atime: fields.time()?,
        mtime: fields.time()?,
        ctime: fields.time()?,
        btime: fields.time()?,
        change: fields.u64()?,
        rdev: (0, 0),
        size: 0,
        used: 0,
        folded_lsn: 0,
        parent: Ino(0),
        entries: 0,
        verifier: None,
    };
    match kind {
        Kind::File => {
            inode.size = fields.u64()?;
            inode.used = fields.u64()?;
            inode.folded_lsn = fields.u64()?;
        }
        Kind::Directory => {
            inode.parent = Ino(fields.u64()?);
            inode.entries = fields.u64()?;
            inode.size = directory_bytes(inode.entries);
            inode.used = inode.size;
        }
        Kind::Symlink => inode.size = fields.u64()?,
        Kind::BlockDevice | Kind::CharDevice | Kind::Socket | Kind::Fifo => {}
    }
    if flags & FLAG_VERIFIER != 0 {
        inode.verifier = Some(fields.array()?);
    }
    if flags & FLAG_RDEV != 0 {
        inode.rdev = (fields.u32()?, fields.u32()?);
        if inode.rdev == (0, 0) {
            return Err(fields.corrupt("device number of nothing"));
        }
    }
    Ok(inode)
}

/// The kind with this number.
pub(super) fn kind(number: u8) -> Option<Kind> {
    Some(match number {
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::BlockDevice,
        4 => Kind::CharDevice,
        5 => Kind::Symlink,
        6 => Kind::Socket,
        7 => Kind::Fifo,
        _ => return None,
    })
}

/// Bits of a mode that are kept.
pub const MODE_BITS: u32 = 0o7777;
const FLAG_VERIFIER: u8 = 1;
const FLAG_RDEV: u8 = 2;
const ENTRIES_PER_BLOCK: u64 = 64;
const DIRECTORY_BLOCK_BYTES: u64 = 4096;
