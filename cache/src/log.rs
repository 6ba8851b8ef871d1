//! The log of one core in one filesystem: every byte goes through it once.
//!
//! Callers: the verbs that write (reserve, then commit, in one breath), COMMIT and stable writes
//! (`flush_to`), the checkpoint (`replay_point`, `durable`). Records gather in the open frame, which
//! leaves at the end of the turn or when it is full. Flushes are shared: at most one is under way,
//! and all who wait share the next. A failed write or flush poisons the log for ever.
//!
//! Guarantees: what is durable is a prefix of what was committed, in order of [`Position`].

use std::rc::Rc;

use crate::extent::{Place, SegmentId};
use crate::frame::RecordKind;
use crate::table::Volume;
use crate::world::{LocalFuture, Time, World};

/// How far a core's log is; later records have the same or a higher one. Means nothing on another core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// The log cannot take or keep anything any more, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poisoned;

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room now: wait for [`Log::room`], then ask again.
    Later,
    /// No segment is left for this urgency.
    NoSpace,
    /// A write or a flush failed.
    Poisoned,
}

/// Who may take a segment when few are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Data: refused when only the reserve is left.
    Data,
    /// Truncation, cleaning: may take from the reserve.
    Reserve,
}

/// A segment to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGrant {
    /// Its name, never used before.
    pub id: SegmentId,
    /// The slot file that holds it.
    pub slot: u32,
    /// The slot file must be made first.
    pub fresh: bool,
}

/// Gives out segments: the ledger.
pub trait SegmentSource {
    /// A segment of the configured size; `NoSpace` or `Poisoned`, never `Later`. The slot is known
    /// to [`crate::table::Slots`] before this completes.
    fn open(&self, urgency: Urgency) -> LocalFuture<Result<SegmentGrant, Refused>>;
}

/// What a log is made with.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// The core, as frames name it.
    pub core: u16,
    /// Bytes of a segment; a multiple of a chunk, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Most bytes appended and not yet written.
    pub unwritten_bytes_max: usize,
}

/// What the caller knows of a record beside its payload.
#[derive(Clone, Copy, Debug)]
pub struct RecordFields {
    /// Inode number.
    pub ino: u64,
    /// Generation.
    pub generation: u32,
    /// Log sequence number, taken after the reservation.
    pub lsn: u64,
    /// File offset; Truncate: the new length.
    pub offset: u64,
    /// Becomes mtime and ctime.
    pub time: Time,
    /// What it does.
    pub kind: RecordKind,
    /// Set-id bits were cleared.
    pub clears_setid: bool,
    /// Move: version of the bytes moved; otherwise 0.
    pub aux: u64,
}

/// Plain counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Records committed.
    pub records: u64,
    /// Payload bytes committed.
    pub payload_bytes: u64,
    /// Frames written.
    pub frames: u64,
    /// Bytes written, headers and padding included.
    pub written_bytes: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Waiters answered by flushes.
    pub flush_waiters: u64,
    /// Segments opened.
    pub segments: u64,
}

/// Smallest segment: a full frame and its chunk's rounding.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A core's log. Ends its tasks when dropped; what was not flushed may be lost then.
pub struct Log {}

/// Payload that is in the log's memory, not yet a record. Dropped without [`Reservation::commit`],
/// it is as if it had never been. Nothing else is asked of the log while it exists, and nothing is awaited.
pub struct Reservation<'a> {
    _log: &'a Log,
}

impl Log {
    /// A log that asks `source` for its first segment when it is first used.
    pub fn new(_config: LogConfig, _volume: Volume, _world: Rc<dyn World>, _source: Rc<dyn SegmentSource>) -> Log {
        todo!()
    }

    /// Copies `payload` (at most [`crate::frame::PAYLOAD_MAX`] bytes; empty for Truncate) into the
    /// open frame. One payload is one extent: it never crosses a frame.
    pub fn reserve(&self, _payload: &[u8], _urgency: Urgency) -> Result<Reservation<'_>, Refused> {
        todo!()
    }

    /// Waits until `bytes` of payload are likely to find room.
    pub async fn room(&self, _bytes: usize, _urgency: Urgency) -> Result<(), Refused> {
        todo!()
    }

    /// Waits until everything up to `position` is durable.
    pub async fn flush_to(&self, _position: Position) -> Result<(), Poisoned> {
        todo!()
    }

    /// The position of the last record.
    pub fn position(&self) -> Position {
        todo!()
    }

    /// Everything up to here is durable.
    pub fn durable(&self) -> Position {
        todo!()
    }

    /// Where a replay begins that needs none of the records committed before this call: the segment
    /// and the block. `None` while no segment was opened.
    pub fn replay_point(&self) -> Option<(SegmentId, u32)> {
        todo!()
    }

    /// Whether a write or a flush failed.
    pub fn is_poisoned(&self) -> bool {
        todo!()
    }

    /// What it counted.
    pub fn counters(&self) -> LogCounters {
        todo!()
    }
}

impl Reservation<'_> {
    /// Where the payload is; [`Place::Hole`] without payload.
    pub fn place(&self) -> Place {
        todo!()
    }

    /// The position that the record will have.
    pub fn position(&self) -> Position {
        todo!()
    }

    /// Makes it a record.
    pub fn commit(self, _fields: RecordFields) -> Position {
        todo!()
    }
}
