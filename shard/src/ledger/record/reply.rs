//! Records of `replies`: answers to requests that took effect, so that a replay gets the same
//! answer, also after a crash. Content of the value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | number of the reply: says which of the ring is newer |
//! | 8 | 8 | client |
//! | 16 | 4 | xid |
//! | 20 | 8 | checksum of the arguments |
//! | 28 | 1 | flags |
//!
//! then what the flags say is there: bit 0 the object, bit 1 the object before, bit 2 the directory,
//! bit 3 the directory of the target; bit 4 tells that the name had existed, bit 5 that both
//! directories are one (bit 3 is then not set). An object is its number u64 and the content of its
//! record in `inodes`. A directory is the object after, then what was different before: entries u64,
//! nlink u32, mtime, ctime, change u64.

use super::inode::directory_bytes;
use super::{Corrupt, Fields, Key, Table, begin, inode, open, put_time, seal};
use crate::inode::{Ino, Inode};
use crate::ledger::command::{Answer, ReplayKey, Wcc};

/// A stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Number of the reply.
    pub number: u64,
    /// What was answered.
    pub key: ReplayKey,
    /// The answer. Its `replayed` is set.
    pub answer: Answer,
}

/// Key of a slot of the ring.
pub fn key(slot: u32) -> Key<4> {
    Key::new().with(&slot.to_be_bytes())
}

/// Writes the value of a reply that took effect.
pub fn encode(slot: u32, reply: &Reply, out: &mut Vec<u8>) {
    let answer = &reply.answer;
    let one_dir = answer.dir.is_some() && answer.dir == answer.to_dir;
    let dir = answer.dir.and_then(both);
    let to_dir = answer.to_dir.and_then(both).filter(|_| !one_dir);
    let flags = u8::from(answer.object.is_some()) * FLAG_OBJECT
        + u8::from(answer.before.is_some()) * FLAG_BEFORE
        + u8::from(dir.is_some()) * FLAG_DIR
        + u8::from(to_dir.is_some()) * FLAG_TO_DIR
        + u8::from(answer.existed) * FLAG_EXISTED
        + u8::from(one_dir) * FLAG_ONE_DIR;
    begin(out);
    out.extend_from_slice(&reply.number.to_le_bytes());
    out.extend_from_slice(&reply.key.client.to_le_bytes());
    out.extend_from_slice(&reply.key.xid.to_le_bytes());
    out.extend_from_slice(&reply.key.arguments.to_le_bytes());
    out.push(flags);
    for object in [&answer.object, &answer.before].into_iter().flatten() {
        put_object(object, out);
    }
    for (before, after) in [dir, to_dir].into_iter().flatten() {
        put_wcc(&before, &after, out);
    }
    seal(key(slot).as_bytes(), out);
}

/// Checks and reads the reply in a slot.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Reply, Corrupt> {
    let mut fields = open(Table::Replies, key, value)?;
    let number = fields.u64()?;
    let key = ReplayKey { client: fields.u64()?, xid: fields.u32()?, arguments: fields.u64()? };
    let flags = fields.u8()?;
    if !FLAGS_WRITTEN.contains(&(flags & !(FLAG_OBJECT | FLAG_BEFORE | FLAG_EXISTED))) {
        return Err(fields.corrupt("flags of the reply"));
    }
    let object = (flags & FLAG_OBJECT != 0).then(|| take_object(&mut fields)).transpose()?;
    let before = (flags & FLAG_BEFORE != 0).then(|| take_object(&mut fields)).transpose()?;
    let dir = (flags & FLAG_DIR != 0).then(|| take_wcc(&mut fields)).transpose()?;
    let to_dir = (flags & FLAG_TO_DIR != 0).then(|| take_wcc(&mut fields)).transpose()?;
    if dir.is_some() && dir == to_dir {
        return Err(fields.corrupt("one directory twice"));
    }
    fields.end()?;
    let answer = Answer {
        status: Ok(()),
        object,
        existed: flags & FLAG_EXISTED != 0,
        before,
        dir,
        to_dir: if flags & FLAG_ONE_DIR != 0 { dir } else { to_dir },
        replayed: true,
    };
    Ok(Reply { number, key, answer })
}

fn put_object(object: &Inode, out: &mut Vec<u8>) {
    out.extend_from_slice(&object.ino.0.to_le_bytes());
    inode::put(object, out);
}

fn take_object(fields: &mut Fields<'_>) -> Result<Inode, Corrupt> {
    let ino = Ino(fields.u64()?);
    inode::take(ino, fields)
}

/// An operation that took effect knows its directories before and after.
fn both(wcc: Wcc) -> Option<(Inode, Inode)> {
    wcc.before.zip(wcc.after)
}

/// A directory that an operation changed: nothing else of it can have changed.
fn put_wcc(before: &Inode, after: &Inode, out: &mut Vec<u8>) {
    put_object(after, out);
    out.extend_from_slice(&before.entries.to_le_bytes());
    out.extend_from_slice(&before.nlink.to_le_bytes());
    put_time(out, before.mtime);
    put_time(out, before.ctime);
    out.extend_from_slice(&before.change.to_le_bytes());
}

fn take_wcc(fields: &mut Fields<'_>) -> Result<Wcc, Corrupt> {
    let after = take_object(fields)?;
    let entries = fields.u64()?;
    let before = Inode {
        entries,
        nlink: fields.u32()?,
        mtime: fields.time()?,
        ctime: fields.time()?,
        change: fields.u64()?,
        size: directory_bytes(entries),
        used: directory_bytes(entries),
        ..after
    };
    Ok(Wcc { before: Some(before), after: Some(after) })
}

const FLAG_OBJECT: u8 = 1;
const FLAG_BEFORE: u8 = 2;
const FLAG_DIR: u8 = 4;
const FLAG_TO_DIR: u8 = 8;
const FLAG_EXISTED: u8 = 16;
const FLAG_ONE_DIR: u8 = 32;
/// What a reply says of directories: the flags that are written together.
const FLAGS_WRITTEN: [u8; 5] = [0, FLAG_DIR, FLAG_TO_DIR, FLAG_DIR | FLAG_TO_DIR, FLAG_DIR | FLAG_ONE_DIR];
