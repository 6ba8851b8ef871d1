//! Records of `targets` and `orphans`.
//!
//! Content of a value of `targets`: the target of a symbolic link, 1 to 4095 bytes.
//! Content of a value of `orphans`: generation u32 of the removed file.

use super::{Corrupt, Key, Table, begin, ino_key, key_u64s, open, seal};
use crate::inode::Ino;
use crate::ledger::command::TARGET_MAX;

/// Key of the target of symbolic link `ino`.
pub fn target_key(ino: Ino) -> Key<12> {
    ino_key(ino)
}

/// The symbolic link that a key of `targets` names.
pub fn parse_target_key(key: &[u8]) -> Result<Ino, Corrupt> {
    let [ino] = key_u64s(Table::Targets, key)?;
    Ok(Ino(ino))
}

/// Writes the value of `targets`.
pub fn encode_target(ino: Ino, target: &[u8], out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(target);
    seal(target_key(ino).as_bytes(), out);
}

/// Checks and reads a value of `targets`.
pub fn decode_target<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Corrupt> {
    let target = open(Table::Targets, key, value)?.remainder();
    if target.is_empty() || target.len() > TARGET_MAX {
        return Err(Corrupt { table: Table::Targets, reason: "length of the target" });
    }
    Ok(target)
}

/// Key of the orphan `ino`.
pub fn orphan_key(ino: Ino) -> Key<8> {
    Key::new().with(&ino.0.to_be_bytes())
}

/// Writes the value of `orphans`.
pub fn encode_orphan(ino: Ino, generation: u32, out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(&generation.to_le_bytes());
    seal(orphan_key(ino).as_bytes(), out);
}

/// Checks and reads a row of `orphans`: the inode and its generation.
pub fn decode_orphan(key: &[u8], value: &[u8]) -> Result<(Ino, u32), Corrupt> {
    let mut fields = open(Table::Orphans, key, value)?;
    let ino = key.as_array::<8>().ok_or(fields.corrupt("length of the key"))?;
    let generation = fields.u32()?;
    fields.end()?;
    Ok((Ino(u64::from_be_bytes(*ino)), generation))
}
