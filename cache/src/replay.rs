//! Reads a segment's frames back, in order, and finds where they end.
//!
//! Callers: recovery (through the core's disk), verify and dump (through files, without a ring).
//! A frame counts when its header is sound, names this segment and block, follows the header before
//! it (also where the replay begins in the middle), and every payload block matches its checksum. The first that does
//! not is the end: a torn tail, unless another frame says that it was durable; then it is corruption. Of the last frame
//! its seal says so, a frame without records, written when the log was quiet for a moment.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::block::{Arena, Blank, CHUNK_BLOCKS, CHUNK_BYTES, Piece};
use crate::checksum;
use crate::disk::{Disk, Stable};
use crate::extent::{BLOCK_BYTES, Extent, Place, SegmentId};
use crate::frame::{Frame, Header, Record, RecordKind};

/// What is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayScope {
    /// The filesystem's on-disk identity.
    pub filesystem: u64,
    /// The segment.
    pub segment: SegmentId,
    /// The slot that holds it.
    pub slot: u32,
    /// First block to replay: a frame header, or where the next one would be.
    pub from_block: u32,
    /// Bytes of a segment; a multiple of a chunk.
    pub segment_bytes: u64,
}

/// A frame that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedFrame {
    /// Its header.
    pub header: Header,
    /// Its records.
    pub records: Vec<Record>,
}

impl ReplayedFrame {
    /// The extent that one of its records makes: data, or a move, whose bytes keep their version.
    /// `None` for Truncate.
    pub fn extent(&self, record: &Record) -> Option<Extent> {
        let version = match record.kind {
            RecordKind::Truncate => return None,
            RecordKind::Data => record.lsn,
            RecordKind::Move => record.aux,
        };
        let block = self.header.block + 1 + u32::from(record.first_block);
        let frame = self.header.block;
        let place = Place::Log { segment: self.header.segment, frame, block, skew: record.skew };
        Some(Extent { bytes: record.bytes, place, version, lsn: record.lsn })
    }
}

/// Where the frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// Frames replayed.
    pub frames: u64,
    /// The block after the last whole frame.
    pub end_block: u32,
}

/// Why a segment cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The disk failed.
    Io(io::Error),
    /// A frame that was durable is damaged.
    Corrupt {
        /// The slot, which names the file ([`crate::disk::slot_name`]).
        slot: u32,
        /// The segment.
        segment: SegmentId,
        /// The block of the header that should be there.
        block: u32,
    },
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Io(error) => write!(f, "reading the log failed: {error}"),
            ReplayError::Corrupt { slot, segment, block } => {
                let file = crate::disk::slot_name(*slot);
                write!(f, "{file}, block {block}: a durable frame of segment {} is damaged", segment.0)
            }
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> ReplayError {
        ReplayError::Io(error)
    }
}

/// Replays a segment through a disk; `on_frame` sees each frame in order, also those before an error.
pub async fn replay(
    disk: Rc<dyn Disk>,
    scope: ReplayScope,
    on_frame: impl FnMut(&ReplayedFrame),
) -> Result<ReplayEnd, ReplayError> {
    let source = DiskSource { disk, slot: scope.slot, arena: Arena::new(window_bytes(scope)) };
    walk(source, scope, on_frame).await
}

/// Replays a segment out of an open slot file, for offline tools.
pub fn scan(file: &File, scope: ReplayScope, on_frame: impl FnMut(&ReplayedFrame)) -> Result<ReplayEnd, ReplayError> {
    let source = FileSource { file, arena: Arena::new(window_bytes(scope)) };
    walk(source, scope, on_frame).now_or_never().expect("a file source never waits")
}

/// Writes blocks of a slot again as they are, and makes them durable. They may be in the disk's cache only, left there by
/// a process that was killed after a write or a flush of them had failed: of such bytes no later flush promises
/// anything, but of a new write it does.
pub async fn rewrite(disk: &Rc<dyn Disk>, slot: u32, blocks: Range<u32>) -> io::Result<()> {
    let source = DiskSource { disk: disk.clone(), slot, arena: Arena::new(2 * WINDOW_CHUNKS * CHUNK_BYTES) };
    let mut next = blocks.start;
    while next < blocks.end {
        let first_chunk = next / CHUNK_BLOCKS as u32;
        let chunks = (blocks.end.div_ceil(CHUNK_BLOCKS as u32) - first_chunk) as usize;
        let found = source.chunks(first_chunk, chunks.min(WINDOW_CHUNKS)).await?;
        let start = next;
        let mut pieces = Vec::with_capacity(found.len());
        for chunk in &found {
            let first = next as usize % CHUNK_BLOCKS;
            let count = (CHUNK_BLOCKS - first).min((blocks.end - next) as usize);
            let copy = source.arena.take().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
            pieces.push(copied(copy, chunk, first, count));
            next += count as u32;
        }
        disk.write(slot, u64::from(start) * BLOCK_BYTES as u64, pieces, Stable::Later).await?;
    }
    disk.flush(slot).await
}

/// Blocks of a chunk, to be written.
fn copied(copy: Blank, chunk: &Blank, first: usize, count: usize) -> Piece {
    let mut head = copy.head();
    for (block, bytes) in chunk.bytes().chunks_exact(BLOCK_BYTES).enumerate().skip(first).take(count) {
        head.write(block, bytes);
    }
    head.publish(first, count);
    Piece::new(head.chunk().clone(), first * BLOCK_BYTES, count * BLOCK_BYTES)
}

/// What a segment is read through: no more than its own length.
fn window_bytes(scope: ReplayScope) -> usize {
    let chunks = scope.segment_bytes.div_ceil(CHUNK_BYTES as u64);
    chunks.min(WINDOW_CHUNKS as u64) as usize * CHUNK_BYTES
}

/// Chunks read at a time.
const WINDOW_CHUNKS: usize = 8;

/// Where chunks come from.
trait Source {
    /// Up to `count` consecutive chunks from number `first` on.
    async fn chunks(&self, first: u32, count: usize) -> io::Result<Vec<Blank>>;
}

struct DiskSource {
    disk: Rc<dyn Disk>,
    slot: u32,
    arena: Arena,
}

struct FileSource<'a> {
    file: &'a File,
    arena: Arena,
}

impl Source for DiskSource {
    async fn chunks(&self, first: u32, count: usize) -> io::Result<Vec<Blank>> {
        let reads = (0..count).map_while(|index| {
            let offset = (u64::from(first) + index as u64) * CHUNK_BYTES as u64;
            Some(self.disk.read(self.slot, offset, self.arena.take()?))
        });
        join_all(reads.collect::<Vec<_>>()).await.into_iter().collect()
    }
}

impl Source for FileSource<'_> {
    async fn chunks(&self, first: u32, count: usize) -> io::Result<Vec<Blank>> {
        let mut chunks = Vec::with_capacity(count);
        for index in 0..count {
            let Some(mut blank) = self.arena.take() else { break };
            let mut offset = (u64::from(first) + index as u64) * CHUNK_BYTES as u64;
            let mut rest = blank.bytes_mut();
            while !rest.is_empty() {
                match self.file.read_at(rest, offset) {
                    Ok(0) => break,
                    Ok(bytes) => {
                        rest = &mut rest[bytes..];
                        offset += bytes as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            rest.fill(0);
            chunks.push(blank);
        }
        Ok(chunks)
    }
}

/// The blocks of a segment through a window that moves forward.
struct Window<S> {
    source: S,
    first_chunk: u32,
    chunks: Vec<Blank>,
    blocks: u32,
}

impl<S: Source> Window<S> {
    /// A block below the segment's end.
    async fn block(&mut self, block: u32) -> io::Result<&[u8; BLOCK_BYTES]> {
        assert!(block < self.blocks);
        let chunk = block / CHUNK_BLOCKS as u32;
        let seen = self.first_chunk..self.first_chunk + self.chunks.len() as u32;
        if !seen.contains(&chunk) {
            let left = (self.blocks.div_ceil(CHUNK_BLOCKS as u32) - chunk) as usize;
            // Gives the memory back before it is asked for again.
            self.chunks.clear();
            self.chunks = self.source.chunks(chunk, left.min(WINDOW_CHUNKS)).await?;
            self.first_chunk = chunk;
        }
        let bytes = self.chunks[(chunk - self.first_chunk) as usize].bytes();
        let at = block as usize % CHUNK_BLOCKS * BLOCK_BYTES;
        Ok(bytes[at..at + BLOCK_BYTES].first_chunk().expect("the range is a block long"))
    }
}

async fn walk<S: Source>(
    source: S,
    scope: ReplayScope,
    mut on_frame: impl FnMut(&ReplayedFrame),
) -> Result<ReplayEnd, ReplayError> {
    let blocks = u32::try_from(scope.segment_bytes / BLOCK_BYTES as u64).unwrap_or(u32::MAX);
    let mut window = Window { source, first_chunk: 0, chunks: Vec::new(), blocks };
    let mut end = ReplayEnd { frames: 0, end_block: scope.from_block };
    let mut previous = chain_to(&mut window, scope).await?;
    while let Some((frame, checksum)) = whole_frame(&mut window, scope, end.end_block, previous).await? {
        on_frame(&frame);
        previous = Some(checksum);
        end.frames += 1;
        end.end_block += 1 + frame.header.payload_blocks;
    }
    if is_missed(&mut window, scope, end.end_block).await? {
        return Err(ReplayError::Corrupt { slot: scope.slot, segment: scope.segment, block: end.end_block });
    }
    Ok(end)
}

/// The checksum that the first replayed frame has to carry, from the headers before it. Without it,
/// what a client once wrote into a slot used before could pass for a frame where none was written
/// yet. `None`, which is unchecked, only where those headers are damaged.
async fn chain_to<S: Source>(window: &mut Window<S>, scope: ReplayScope) -> io::Result<Option<u32>> {
    let (mut block, mut previous) = (0, 0);
    while block < scope.from_block.min(window.blocks) {
        let bytes = window.block(block).await?;
        let Some(frame) = frame_here(bytes, scope, block) else { return Ok(None) };
        if frame.header.previous != previous {
            return Ok(None);
        }
        previous = frame.checksum;
        block += 1 + frame.header.payload_blocks;
    }
    Ok((block == scope.from_block).then_some(previous))
}

/// The frame at `block` and its header's checksum, if it is whole and in its place.
async fn whole_frame<S: Source>(
    window: &mut Window<S>,
    scope: ReplayScope,
    block: u32,
    previous: Option<u32>,
) -> io::Result<Option<(ReplayedFrame, u32)>> {
    if block >= window.blocks {
        return Ok(None);
    }
    let bytes = *window.block(block).await?;
    let Some(frame) = frame_here(&bytes, scope, block) else { return Ok(None) };
    let header = frame.header;
    if previous.is_some_and(|previous| previous != header.previous) || header.payload_blocks >= window.blocks - block {
        return Ok(None);
    }
    for index in 0..header.payload_blocks {
        let payload = window.block(block + 1 + index).await?;
        if frame.payload_checksum(index) != Some(checksum::crc32c(payload)) {
            return Ok(None);
        }
    }
    Ok(Some((ReplayedFrame { header, records: frame.records().collect() }, frame.checksum)))
}

/// Whether a frame says that `end` was durable before it. One that is not in its place says so too: its write went
/// elsewhere, perhaps over the very frame that it tells of.
async fn is_missed<S: Source>(window: &mut Window<S>, scope: ReplayScope, end: u32) -> io::Result<bool> {
    for block in end..window.blocks {
        let bytes = window.block(block).await?;
        if own_frame(bytes, scope).is_some_and(|frame| frame.header.durable_to > end) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The frame header in a block, if it is one of this segment and belongs there.
fn frame_here<'a>(bytes: &'a [u8; BLOCK_BYTES], scope: ReplayScope, block: u32) -> Option<Frame<'a>> {
    own_frame(bytes, scope).filter(|frame| frame.header.block == block)
}

/// The frame header in a block, if it is one of this segment.
fn own_frame(bytes: &[u8; BLOCK_BYTES], scope: ReplayScope) -> Option<Frame<'_>> {
    let frame = Frame::decode(bytes).ok()?;
    let is_own = frame.header.segment == scope.segment && frame.header.filesystem == scope.filesystem;
    is_own.then_some(frame)
}

#[cfg(test)]
mod tests;
