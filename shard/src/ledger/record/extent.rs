//! Records of `extents`: a run of a file's bytes. Content of the value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | 0 hole, 1 in the log |
//! | 1 | 8 | length in bytes, above 0 |
//! | 9 | 8 | version: log sequence number of the write |
//!
//! and of bytes in the log: segment u64, block of the frame header u32, block of the first byte u32,
//! offset of the first byte within its block u16, below 4096.

use super::{Corrupt, Key, Table, begin, key_u64s, open, pair_key, seal};
use crate::inode::Ino;
use cache::extent::{BLOCK_BYTES, Extent, Place, SegmentId};

/// Key of the extent of `ino` that begins at `offset`.
pub fn key(ino: Ino, offset: u64) -> Key<20> {
    pair_key(ino, offset)
}

/// Inode and file offset of a key.
pub fn parse_key(key: &[u8]) -> Result<(Ino, u64), Corrupt> {
    let [ino, offset] = key_u64s(Table::Extents, key)?;
    Ok((Ino(ino), offset))
}

/// Writes the value of `extent` under `key`.
pub fn encode(key: &[u8], extent: &Extent, out: &mut Vec<u8>) {
    begin(out);
    out.push(u8::from(matches!(extent.place, Place::Log { .. })));
    out.extend_from_slice(&extent.bytes.to_le_bytes());
    out.extend_from_slice(&extent.version.to_le_bytes());
    if let Place::Log { segment, frame, block, skew } = extent.place {
        out.extend_from_slice(&segment.0.to_le_bytes());
        out.extend_from_slice(&frame.to_le_bytes());
        out.extend_from_slice(&block.to_le_bytes());
        out.extend_from_slice(&skew.to_le_bytes());
    }
    seal(key, out);
}

/// Checks and reads the value under `key`, with its file offset.
pub fn decode(key: &[u8], value: &[u8]) -> Result<(u64, Extent), Corrupt> {
    let (_, offset) = parse_key(key)?;
    let mut fields = open(Table::Extents, key, value)?;
    let tag = fields.u8()?;
    let bytes = fields.u64()?;
    let version = fields.u64()?;
    let place = match tag {
        0 => Place::Hole,
        1 => Place::Log {
            segment: SegmentId(fields.u64()?),
            frame: fields.u32()?,
            block: fields.u32()?,
            skew: fields.u16()?,
        },
        _ => return Err(fields.corrupt("kind of extent")),
    };
    if bytes == 0 || offset.checked_add(bytes).is_none() {
        return Err(fields.corrupt("length of the extent"));
    }
    if let Place::Log { skew, .. } = place
        && usize::from(skew) >= BLOCK_BYTES
    {
        return Err(fields.corrupt("offset within the block"));
    }
    fields.end()?;
    Ok((offset, Extent { bytes, place, version, lsn: 0 }))
}
