//! The record of `meta`: what the filesystem as a whole has given out. Content of the value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | filesystem id |
//! | 8 | 8 | next inode number |
//! | 16 | 8 | limit of log sequence numbers: those below it may have been used |
//! | 24 | 8 | next segment id |
//! | 32 | 4 | slot files made: slots below it have been given out before |
//! | 36 | 4 | slots of the ring of replies |
//! | 40 | 8 | replies stored so far; the next goes into this number modulo the slots |

use super::{Corrupt, Table, begin, open, seal};

/// What has been given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Durable identity of the filesystem.
    pub filesystem: u64,
    /// Number of the next inode.
    pub next_ino: u64,
    /// Log sequence numbers below it may have been used.
    pub lsn_limit: u64,
    /// Name of the next segment.
    pub next_segment: u64,
    /// Slots below it have been given out before.
    pub slots_made: u32,
    /// Slots of the ring of replies.
    pub reply_slots: u32,
    /// Replies stored so far.
    pub replies: u64,
}

/// Key of the record.
pub const KEY: &[u8] = b"head";

/// Writes the value of `meta`.
pub fn encode(meta: &Meta, out: &mut Vec<u8>) {
    begin(out);
    for field in [meta.filesystem, meta.next_ino, meta.lsn_limit, meta.next_segment] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&meta.slots_made.to_le_bytes());
    out.extend_from_slice(&meta.reply_slots.to_le_bytes());
    out.extend_from_slice(&meta.replies.to_le_bytes());
    seal(KEY, out);
}

/// Checks and reads the value.
pub fn decode(value: &[u8]) -> Result<Meta, Corrupt> {
    let mut fields = open(Table::Meta, KEY, value)?;
    let meta = Meta {
        filesystem: fields.u64()?,
        next_ino: fields.u64()?,
        lsn_limit: fields.u64()?,
        next_segment: fields.u64()?,
        slots_made: fields.u32()?,
        reply_slots: fields.u32()?,
        replies: fields.u64()?,
    };
    if meta.reply_slots == 0 {
        return Err(fields.corrupt("no slots for replies"));
    }
    fields.end()?;
    Ok(meta)
}
