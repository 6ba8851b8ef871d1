//! The chunks that a log's open frame and the next one write to, in order and without a gap.
//!
//! Caller: the log. A chunk that is full is let go: the cache has it from then on, and the write of its last frame.

use crate::block::{CHUNK_BLOCKS, Head, Piece};
use crate::extent::BLOCK_BYTES;
use std::collections::VecDeque;

/// Chunks of the segment by their number.
#[derive(Default)]
pub(super) struct Heads {
    chunks: VecDeque<(u32, Head)>,
}

impl Heads {
    /// The number of the chunk to come after those that are here; `None` where there are none.
    pub(super) fn next(&self) -> Option<u32> {
        self.chunks.back().map(|(index, _)| index + 1)
    }

    pub(super) fn push(&mut self, index: u32, head: Head) {
        assert!(self.next().is_none_or(|next| next == index));
        self.chunks.push_back((index, head));
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Lets go of chunks that have no block from `next_block` on.
    pub(super) fn let_go(&mut self, next_block: u32) {
        while self.chunks.front().is_some_and(|(index, _)| (index + 1) * CHUNK_BLOCKS as u32 <= next_block) {
            self.chunks.pop_front();
        }
    }

    /// The chunk of a block, and the block's number within it.
    pub(super) fn at(&mut self, block: u32) -> (&mut Head, usize) {
        let first = self.chunks.front().map_or(0, |(index, _)| *index);
        let (_, head) = &mut self.chunks[(block / CHUNK_BLOCKS as u32 - first) as usize];
        (head, block as usize % CHUNK_BLOCKS)
    }

    /// Lets everyone see the blocks `[from, to)`.
    pub(super) fn publish(&mut self, from: u32, to: u32) {
        self.parts(from, to).for_each(|(head, first, count)| head.publish(first, count));
    }

    /// The blocks `[from, to)` as they are written to disk.
    pub(super) fn pieces(&mut self, from: u32, to: u32) -> Vec<Piece> {
        self.parts(from, to)
            .map(|(head, first, count)| Piece::new(head.chunk().clone(), first * BLOCK_BYTES, count * BLOCK_BYTES))
            .collect()
    }

    /// The parts of `[from, to)` in each chunk: chunk, first block within it, blocks.
    fn parts(&mut self, from: u32, to: u32) -> impl Iterator<Item = (&mut Head, usize, usize)> {
        self.chunks.iter_mut().filter_map(move |(index, head)| {
            let start = *index * CHUNK_BLOCKS as u32;
            let first = from.max(start);
            let end = to.min(start + CHUNK_BLOCKS as u32);
            (first < end).then(|| (head, (first - start) as usize, (end - first) as usize))
        })
    }
}
