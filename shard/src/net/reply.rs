//! A reply under construction, at the end of what its connection is about to send.
//!
//! Callers: dispatch (headers), each operation (results). RFC 5531 9 and 11.

use cache::block::{Gather, Piece};
use wire::record;
use wire::rpc::ReplyHeader;
use wire::xdr::padding;
use wire::{Encode, Malformed, Writer};

/// How a procedure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The results say success.
    Well,
    /// The results say why not.
    Failed,
    /// It waits; its ticket answers.
    Later,
    /// Nothing was done; the call stays where it is and is served again.
    Held,
}

/// How a procedure ended, or that its arguments cannot be decoded.
pub type Outcome = Result<Ended, Malformed>;

/// A reply under construction.
pub struct Reply<'g> {
    gather: &'g mut Gather,
    /// Bytes of this reply that are sent from where they lie.
    piece_bytes: usize,
    /// Data of at most so many bytes is copied.
    copied_max: usize,
}

impl<'g> Reply<'g> {
    pub(crate) fn new(gather: &'g mut Gather, memory: Memory) -> Reply<'g> {
        let copied_max = match memory {
            Memory::Ample => 0,
            Memory::Tight => COPIED_MAX,
        };
        Reply { gather, piece_bytes: 0, copied_max }
    }

    /// Writes results.
    #[inline]
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.gather.head())
    }

    /// Sends all of `pieces` after what is written, and their XDR padding. Where memory is tight, few bytes
    /// are copied, so that a reply which is not taken does not keep the chunks of the cache that they lie in.
    pub fn data(&mut self, pieces: &mut Vec<Piece>) {
        let bytes = pieces.iter().map(Piece::len).sum();
        if bytes <= self.copied_max {
            pieces.drain(..).for_each(|piece| self.gather.head().extend_from_slice(piece.as_slice()));
        } else {
            self.piece_bytes += bytes;
            pieces.drain(..).for_each(|piece| self.gather.push(piece));
        }
        self.writer().raw(&[0; 4][..padding(bytes)]);
    }

    /// A whole reply without results.
    pub(crate) fn header(&mut self, header: &ReplyHeader<'_>) {
        let mut w = self.writer();
        let mark = record::begin(&mut w);
        header.encode(&mut w);
        record::finish(&mut w, mark, 0);
    }

    /// A whole reply with the results that `write` makes. Leaves nothing when they come later or the
    /// arguments were malformed; in both cases `write` has put no data into it.
    #[inline]
    pub(crate) fn results(&mut self, xid: u32, write: impl FnOnce(&mut Reply<'g>) -> Outcome) -> Outcome {
        let mut w = self.writer();
        let start = w.position();
        let mark = record::begin(&mut w);
        w.encode(&ReplyHeader::success(xid));
        let outcome = write(self);
        let piece_bytes = self.piece_bytes;
        let mut w = self.writer();
        match outcome {
            Ok(Ended::Well | Ended::Failed) => record::finish(&mut w, mark, piece_bytes),
            Ok(Ended::Later | Ended::Held) | Err(_) => w.truncate(start),
        }
        outcome
    }
}

/// How much memory the core has for replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nobody has to mind.
    Ample,
    /// Others wait for it, or soon will.
    Tight,
}

/// Data of at most so many bytes is copied into the reply where memory is tight.
pub(crate) const COPIED_MAX: usize = 4096;
