//! Records of `names` and `entries`: one directory entry, found by name and by cookie.
//!
//! Content of a value of `names`: ino u64, cookie u64, kind u8.
//! Content of a value of `entries`: ino u64, kind u8, name (the rest, 1 to 255 bytes).
//!
//! A cookie is the log sequence number of the creation of the entry: unique, never given out again,
//! above [`COOKIE_PARENT`].

use super::inode::kind;
use super::{Corrupt, EPOCH, Key, Table, begin, key_u64s, open, pair_key, seal};
use crate::inode::{Ino, Kind};
use crate::ledger::command::NAME_MAX;
use std::borrow::Cow;

/// READDIR cookie of `.`; 0 is the start of the directory.
pub const COOKIE_SELF: u64 = 1;
/// READDIR cookie of `..`; those of entries are larger.
pub const COOKIE_PARENT: u64 = 2;

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// The entry's READDIR cookie.
    pub cookie: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its READDIR cookie.
    pub cookie: u64,
    /// The inode.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: Cow<'a, [u8]>,
}

impl Entry<'_> {
    /// The same with a name of its own.
    pub fn into_owned(self) -> Entry<'static> {
        Entry { name: Cow::Owned(self.name.into_owned()), ..self }
    }
}

/// Key of a name in a directory. The name has at most [`NAME_MAX`] bytes.
pub fn name_key(dir: Ino, name: &[u8]) -> Key<NAME_KEY_BYTES> {
    Key::new().with(&dir.0.to_be_bytes()).with(name).with(&EPOCH.to_be_bytes())
}

/// Directory and name of a key of `names`.
pub fn parse_name_key(key: &[u8]) -> Result<(Ino, &[u8]), Corrupt> {
    let corrupt = |reason| Corrupt { table: Table::Names, reason };
    let (dir, rest) = key.split_first_chunk::<8>().ok_or(corrupt("short key"))?;
    let (name, epoch) = rest.split_last_chunk::<4>().ok_or(corrupt("short key"))?;
    if u32::from_be_bytes(*epoch) != EPOCH {
        return Err(corrupt("epoch of the key"));
    }
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(corrupt("length of the name"));
    }
    Ok((Ino(u64::from_be_bytes(*dir)), name))
}

/// Key of an entry by cookie.
pub fn entry_key(dir: Ino, cookie: u64) -> Key<20> {
    pair_key(dir, cookie)
}

/// Directory and cookie of a key of `entries`.
pub fn parse_entry_key(key: &[u8]) -> Result<(Ino, u64), Corrupt> {
    let [dir, cookie] = key_u64s(Table::Entries, key)?;
    Ok((Ino(dir), cookie))
}

/// Writes the value of `names` under `key`.
pub fn encode_name(key: &[u8], found: &Found, out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(&found.ino.0.to_le_bytes());
    out.extend_from_slice(&found.cookie.to_le_bytes());
    out.push(found.kind as u8);
    seal(key, out);
}

/// Checks and reads a value of `names`.
pub fn decode_name(key: &[u8], value: &[u8]) -> Result<Found, Corrupt> {
    let mut fields = open(Table::Names, key, value)?;
    let ino = Ino(fields.u64()?);
    let cookie = fields.u64()?;
    let kind = kind(fields.u8()?).ok_or(fields.corrupt("kind of entry"))?;
    fields.end()?;
    Ok(Found { ino, kind, cookie })
}

/// Writes the value of `entries` under `key`.
pub fn encode_entry(key: &[u8], ino: Ino, kind: Kind, name: &[u8], out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(&ino.0.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(name);
    seal(key, out);
}

/// Checks and reads a value of `entries`.
pub fn decode_entry<'a>(key: &[u8], value: &'a [u8]) -> Result<Entry<'a>, Corrupt> {
    let (_, cookie) = parse_entry_key(key)?;
    let mut fields = open(Table::Entries, key, value)?;
    let ino = Ino(fields.u64()?);
    let kind = kind(fields.u8()?).ok_or(fields.corrupt("kind of entry"))?;
    let name = fields.remainder();
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Corrupt { table: Table::Entries, reason: "length of the name" });
    }
    Ok(Entry { cookie, ino, kind, name: Cow::Borrowed(name) })
}

/// Longest key of `names`.
pub const NAME_KEY_BYTES: usize = 8 + NAME_MAX + 4;
