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
}

impl<'g> Reply<'g> {
    pub(crate) fn new(gather: &'g mut Gather) -> Reply<'g> {
        Reply { gather, piece_bytes: 0 }
    }

    /// Writes results.
    #[inline]
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.gather.head())
    }

    /// Sends `pieces` after what is written, without copying them, and their XDR padding.
    pub fn data(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        let mut bytes = 0;
        for piece in pieces {
            bytes += piece.len();
            self.gather.push(piece);
        }
        self.piece_bytes += bytes;
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
