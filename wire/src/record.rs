//! Record marking over a byte stream, RFC 5531 11: where one RPC message ends and the next begins.
//!
//! Callers: the connection loop of `shard`, and `perf`. Stateless: it looks at what has been received so far,
//! so that the receive buffer is the only state of a connection's input. The usual record of one fragment is
//! given back where it lies; fragments are joined in place.
//! Promises: a record that can never fit is refused as soon as the mark that says so is there, and looking
//! again costs at most [`FRAGMENTS_MAX`] steps.

use std::ops::Range;

use crate::xdr::{Reserved, Writer};

/// The bytes of a record mark.
pub const MARK_BYTES: usize = 4;

/// The most fragments of one record. Linux sends one; libtirpc cuts at its buffer of about 9,000 bytes, so that
/// a WRITE of 1 MiB has some 120.
pub const FRAGMENTS_MAX: usize = 256;

/// The most bytes of one fragment: the length has 31 bits.
pub const FRAGMENT_BYTES_MAX: usize = LAST_FRAGMENT as usize - 1;

/// The top bit of a mark: the record ends with this fragment.
const LAST_FRAGMENT: u32 = 1 << 31;

/// What the bytes received so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The record is not complete. At least `missing` bytes must come before it can be.
    More { missing: usize },
    /// A whole record stands at `body`; the next one begins at `consumed`. Both in bytes of the buffer.
    Record { body: Range<usize>, consumed: usize },
}

/// Why the stream can't be read further: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The fragments announced so far are longer than the limit, in bytes.
    TooLong { bytes: usize, max: usize },
    /// More than [`FRAGMENTS_MAX`] fragments, empty ones included.
    TooManyFragments,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes, max } => {
                write!(f, "record of {bytes} bytes, at most {max} are taken")
            }
            Self::TooManyFragments => write!(f, "record of more than {FRAGMENTS_MAX} fragments"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Whether the mark at the start of `received` says that its fragment is the record's last.
pub fn is_last_fragment(received: &[u8]) -> bool {
    received.first().is_some_and(|&byte| byte & 0x80 != 0)
}

/// Looks for a record at the start of `received`. A complete one of several fragments is joined in place;
/// an incomplete one is left as it is.
#[inline]
pub fn next_record(received: &mut [u8], record_bytes_max: usize) -> Result<Step, RecordError> {
    let Some(first) = mark_at(received, 0) else {
        return Ok(Step::More { missing: MARK_BYTES - received.len() });
    };
    if !first.is_last {
        return next_fragmented(received, record_bytes_max);
    }
    check_length(first.bytes, record_bytes_max)?;
    let end = MARK_BYTES + first.bytes;
    Ok(match end.checked_sub(received.len()) {
        None | Some(0) => Step::Record { body: MARK_BYTES..end, consumed: end },
        Some(missing) => Step::More { missing },
    })
}

/// The general case: walks the marks, and joins the fragments once all are there.
#[cold]
fn next_fragmented(received: &mut [u8], record_bytes_max: usize) -> Result<Step, RecordError> {
    let mut at = 0;
    let mut record_bytes = 0;
    for _ in 0..FRAGMENTS_MAX {
        let Some(mark) = mark_at(received, at) else {
            let missing = at + MARK_BYTES - received.len();
            return Ok(Step::More { missing });
        };
        record_bytes += mark.bytes;
        check_length(record_bytes, record_bytes_max)?;
        at += MARK_BYTES + mark.bytes;
        if mark.is_last {
            return Ok(match at.checked_sub(received.len()) {
                None | Some(0) => Step::Record { body: join(received), consumed: at },
                Some(missing) => Step::More { missing },
            });
        }
    }
    Err(RecordError::TooManyFragments)
}

/// Moves the fragments of a complete record together, behind the place of the first mark.
fn join(received: &mut [u8]) -> Range<usize> {
    let mut from = 0;
    let mut end = MARK_BYTES;
    while let Some(mark) = mark_at(received, from) {
        let start = from + MARK_BYTES;
        from = start + mark.bytes;
        received.copy_within(start..from, end);
        end += mark.bytes;
        if mark.is_last {
            break;
        }
    }
    MARK_BYTES..end
}

/// A record mark, taken apart.
struct Mark {
    bytes: usize,
    is_last: bool,
}

#[inline]
fn mark_at(received: &[u8], at: usize) -> Option<Mark> {
    let mark = u32::from_be_bytes(*received.get(at..)?.first_chunk()?);
    Some(Mark { bytes: (mark & !LAST_FRAGMENT) as usize, is_last: mark & LAST_FRAGMENT != 0 })
}

#[inline]
fn check_length(bytes: usize, max: usize) -> Result<(), RecordError> {
    match bytes <= max {
        true => Ok(()),
        false => Err(RecordError::TooLong { bytes, max }),
    }
}

/// Leaves room for the mark of a record that is written next.
#[inline]
pub fn begin(w: &mut Writer<'_>) -> Reserved {
    w.reserve_u32()
}

/// Fills in the mark of a record of one fragment: all written since [`begin`], and `extra_bytes` that the caller
/// sends from elsewhere (the data of a READ, its padding included).
///
/// # Panics
/// When the record has 2 GiB or more: replies are bounded far below that, and a wrong mark would garble the stream.
#[inline]
pub fn finish(w: &mut Writer<'_>, mark: Reserved, extra_bytes: usize) {
    let bytes = w.position() - mark.position() - MARK_BYTES + extra_bytes;
    assert!(bytes <= FRAGMENT_BYTES_MAX, "a reply outgrew its record mark");
    w.fill(mark, LAST_FRAGMENT | bytes as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    fn fragment(is_last: bool, body: &[u8]) -> Vec<u8> {
        let mark = body.len() as u32 | if is_last { LAST_FRAGMENT } else { 0 };
        [&mark.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_record_of_one_fragment_is_given_back_where_it_lies() {
        let mut stream = [fragment(true, b"abcdef"), fragment(true, b"next")].concat();
        let step = next_record(&mut stream, MAX).unwrap();
        assert_eq!(step, Step::Record { body: 4..10, consumed: 10 });
        assert_eq!(&stream[4..10], b"abcdef");
    }

    #[test]
    fn fragments_are_joined_in_place_and_the_next_record_is_untouched() {
        let mut stream = [
            fragment(false, b"ab"),
            fragment(false, b""),
            fragment(false, b"cdefghijkl"),
            fragment(true, b"m"),
            fragment(true, b"next"),
        ]
        .concat();
        let Step::Record { body, consumed } = next_record(&mut stream, MAX).unwrap() else {
            panic!("all of it is there");
        };
        assert_eq!(&stream[body], b"abcdefghijklm");
        let rest = &mut stream[consumed..];
        assert_eq!(next_record(rest, MAX), Ok(Step::Record { body: 4..8, consumed: 8 }));
        assert_eq!(&rest[4..8], b"next");
    }

    #[test]
    fn every_prefix_asks_for_more_and_never_for_too_much() {
        let whole = [fragment(false, b"abc"), fragment(false, b""), fragment(true, b"defgh")].concat();
        for len in 0..whole.len() {
            let mut received = whole[..len].to_vec();
            let Step::More { missing } = next_record(&mut received, MAX).unwrap() else {
                panic!("not complete at {len}");
            };
            assert!(missing > 0);
            assert!(len + missing <= whole.len());
            assert_eq!(received, whole[..len], "an incomplete record is left alone");
        }
    }

    #[test]
    fn a_record_above_the_limit_is_refused_at_its_mark() {
        let mut one = (LAST_FRAGMENT | 101).to_be_bytes();
        assert_eq!(next_record(&mut one, MAX), Err(RecordError::TooLong { bytes: 101, max: MAX }));
        let mut two = [fragment(false, &[7; 60]), 41_u32.to_be_bytes().to_vec()].concat();
        assert_eq!(next_record(&mut two, MAX), Err(RecordError::TooLong { bytes: 101, max: MAX }));
        let mut all = [0xFF; 4];
        assert!(next_record(&mut all, MAX).is_err());
    }

    #[test]
    fn a_flood_of_empty_fragments_ends() {
        let mut stream = fragment(false, b"").repeat(FRAGMENTS_MAX);
        assert_eq!(next_record(&mut stream, MAX), Err(RecordError::TooManyFragments));
        let mut stream = [fragment(false, b"").repeat(FRAGMENTS_MAX - 1), fragment(true, b"last")].concat();
        assert!(matches!(next_record(&mut stream, MAX), Ok(Step::Record { .. })));
    }

    #[test]
    fn a_written_mark_counts_the_bytes_that_are_sent_from_elsewhere() {
        let mut reply = vec![1, 2, 3];
        let mut w = Writer::new(&mut reply);
        let mark = begin(&mut w);
        w.u64(5);
        finish(&mut w, mark, 16);
        assert_eq!(reply[3..7], (LAST_FRAGMENT | 24).to_be_bytes());
    }
}
