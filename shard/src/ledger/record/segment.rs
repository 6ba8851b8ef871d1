//! Records of `segments`: the log segments in use. Content of the value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | slot file |
//! | 4 | 2 | core |
//! | 6 | 1 | 1 when replay reads the segment, 0 when all of it is folded |
//! | 7 | 4 | first block that replay reads; 0 when it reads none |
//! | 11 | 8 | bytes of extents that lie in it |

use super::{Corrupt, Key, Table, begin, open, seal};
use crate::ledger::command::SegmentInfo;
use cache::extent::SegmentId;

/// Key of a segment.
pub fn key(id: SegmentId) -> Key<8> {
    Key::new().with(&id.0.to_be_bytes())
}

/// Writes the value of `info`.
pub fn encode(info: &SegmentInfo, out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(&info.slot.to_le_bytes());
    out.extend_from_slice(&info.core.to_le_bytes());
    out.push(u8::from(info.replay_from.is_some()));
    out.extend_from_slice(&info.replay_from.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&info.live_bytes.to_le_bytes());
    seal(key(info.id).as_bytes(), out);
}

/// Checks and reads a row.
pub fn decode(key: &[u8], value: &[u8]) -> Result<SegmentInfo, Corrupt> {
    let mut fields = open(Table::Segments, key, value)?;
    let id = key.as_array::<8>().ok_or(fields.corrupt("length of the key"))?;
    let slot = fields.u32()?;
    let core = fields.u16()?;
    let replayed = fields.u8()?;
    let block = fields.u32()?;
    let live_bytes = fields.u64()?;
    let replay_from = match (replayed, block) {
        (0, 0) => None,
        (1, block) => Some(block),
        _ => return Err(fields.corrupt("start of the replay")),
    };
    fields.end()?;
    Ok(SegmentInfo { id: SegmentId(u64::from_be_bytes(*id)), slot, core, replay_from, live_bytes })
}
