//! External Data Representation (RFC 4506): the one codec under every ONC RPC protocol here.
//!
//! Callers: every other file of this crate; `shard` and `perf` for frames. A [`Reader`] walks a frame that
//! somebody else owns, a [`Writer`] appends to a vector that somebody else owns.
//! Promises: every variable length has its maximum in the type, decoding allocates nothing, and neither side
//! panics. Definitions are made with `xdr_struct!`, `xdr_enum!`, `xdr_union!`, `xdr_bytes!` and `xdr_fixed!`
//! (`xdr/declare.rs`), so that they can be read side by side with the RFC.

#[macro_use]
mod declare;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// What is wrong with bytes from a peer. The peer is at fault: answer it and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The frame ended before the value did. Both in bytes.
    Truncated { needed: usize, left: usize },
    /// A length or count above the maximum of its type.
    TooLong { count: usize, max: usize },
    /// A bool that is neither 0 nor 1.
    BadBool(u32),
    /// A number that the enum or union does not have.
    BadDiscriminant { of: &'static str, value: u32 },
    /// This many bytes follow a value that should have filled the frame.
    TrailingBytes(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => write!(f, "{needed} bytes needed, {left} left"),
            Self::TooLong { count, max } => write!(f, "length {count} above the maximum {max}"),
            Self::BadBool(value) => write!(f, "{value} is no bool"),
            Self::BadDiscriminant { of, value } => write!(f, "{of} has no value {value}"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes after the end"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Lets code over `TryFrom<u32>` take a plain `u32` too.
impl From<std::convert::Infallible> for Malformed {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The result of decoding.
pub type Result<T> = std::result::Result<T, Malformed>;

/// A value that can be read from a frame, borrowing it.
pub trait Decode<'a>: Sized {
    /// Reads one value; on an error the reader stands somewhere inside it.
    fn decode(r: &mut Reader<'a>) -> Result<Self>;
}

/// A value that can be appended to a frame.
pub trait Encode {
    fn encode(&self, w: &mut Writer<'_>);
}

/// Decodes one value that fills `bytes` to the end.
pub fn decode_all<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Result<T> {
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r)?;
    r.finish()?;
    Ok(value)
}

/// Encodes one value into a vector of its own. For tests and clients; servers append to a reply.
pub fn encode_vec(value: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// Walks a frame from its start. Cheap to clone, for looking ahead.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    frame_bytes: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame, frame_bytes: frame.len() }
    }

    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.frame_bytes - self.rest.len()
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All bytes not yet read, without moving.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that the frame has been read to its end.
    #[inline]
    pub fn finish(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::TrailingBytes(left)),
        }
    }

    /// One value of the wanted type.
    #[inline]
    pub fn decode<T: Decode<'a>>(&mut self) -> Result<T> {
        T::decode(self)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// A bool, RFC 4506 4.4: 0 or 1 and nothing else.
    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::BadBool(other)),
        }
    }

    /// `N` bytes without padding; for opaques `N` is a multiple of four in every protocol here.
    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*head)
    }

    /// Variable-length opaque data or a string of at most `max` bytes, RFC 4506 4.10 and 4.11.
    /// The padding is skipped and not judged.
    #[inline]
    pub fn opaque(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.count(max)?;
        let bytes = self.take(len)?;
        self.take(padding(len))?;
        Ok(bytes)
    }

    /// The count of a variable-length array of at most `max` elements, RFC 4506 4.13.
    #[inline]
    pub fn count(&mut self, max: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count > max {
            return Err(Malformed::TooLong { count, max });
        }
        Ok(count)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.truncated(count));
        };
        self.rest = rest;
        Ok(head)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> Malformed {
        let left = self.rest.len();
        Malformed::Truncated { needed, left }
    }
}

/// Appends to a vector of the caller's.
#[derive(Debug)]
pub struct Writer<'v> {
    bytes: &'v mut Vec<u8>,
}

/// A place for a `u32` that is written later. Given by [`Writer::reserve_u32`].
#[derive(Debug)]
#[must_use = "a reserved number that is never filled in stays 0"]
pub struct Reserved(usize);

impl<'v> Writer<'v> {
    #[inline]
    pub fn new(bytes: &'v mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Bytes in the vector, those from before this writer included.
    #[inline]
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back everything written after `position`.
    #[inline]
    pub fn truncate(&mut self, position: usize) {
        self.bytes.truncate(position);
    }

    /// Appends one value.
    #[inline]
    pub fn encode<T: Encode>(&mut self, value: &T) {
        value.encode(self);
    }

    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// Bytes as they are: no length, no padding.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The zero bytes that follow `len` bytes of opaque data.
    #[inline]
    pub fn pad(&mut self, len: usize) {
        self.raw(&[0; 4][..padding(len)]);
    }

    /// Variable-length opaque data: length, bytes, padding. What is beyond 4 GiB - 1 is left out: no type here
    /// can hold it.
    #[inline]
    pub fn opaque(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let bytes = bytes.get(..len as usize).unwrap_or(bytes);
        self.u32(len);
        self.raw(bytes);
        self.pad(bytes.len());
    }

    /// A linked list (RFC 4506 4.19): each item after a TRUE, a FALSE at the end.
    pub fn list<T: Encode>(&mut self, items: impl IntoIterator<Item = T>) {
        for item in items {
            self.bool(true);
            item.encode(self);
        }
        self.bool(false);
    }

    /// Leaves room for a `u32`, to be filled in by [`Writer::fill`].
    #[inline]
    pub fn reserve_u32(&mut self) -> Reserved {
        let place = Reserved(self.bytes.len());
        self.u32(0);
        place
    }

    /// Fills in a reserved number. Does nothing when the place has been truncated away.
    #[inline]
    pub fn fill(&mut self, place: Reserved, value: u32) {
        let end = place.0.saturating_add(4);
        if let Some(slot) = self.bytes.get_mut(place.0..end) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
    }
}

impl Reserved {
    /// Where the number stands in the vector, in bytes.
    #[inline]
    pub fn position(&self) -> usize {
        self.0
    }
}

/// The count of zero bytes that bring `len` to a multiple of four.
#[inline]
pub const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

/// Variable-length opaque data of at most `MAX` bytes, borrowed: `opaque data<MAX>` or `string s<MAX>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Opaque<'a, const MAX: usize>(&'a [u8]);

impl<'a, const MAX: usize> Opaque<'a, MAX> {
    /// No bytes.
    pub const EMPTY: Self = Self(&[]);

    /// Refused when longer than `MAX`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        const { assert!(MAX <= u32::MAX as usize) };
        let count = bytes.len();
        match count <= MAX {
            true => Ok(Self(bytes)),
            false => Err(Malformed::TooLong { count, max: MAX }),
        }
    }

    /// The bytes, for as long as the frame lives.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<const MAX: usize> Deref for Opaque<'_, MAX> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl<const MAX: usize> fmt::Debug for Opaque<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl<'a, const MAX: usize> Decode<'a> for Opaque<'a, MAX> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        r.opaque(MAX).map(Self)
    }
}

impl<const MAX: usize> Encode for Opaque<'_, MAX> {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.opaque(self.0);
    }
}

/// A counted array of at most `MAX` small elements, held in place: `T items<MAX>`.
#[derive(Clone, Copy)]
pub struct Array<T, const MAX: usize> {
    items: [T; MAX],
    count: usize,
}

impl<T: Copy + Default, const MAX: usize> Array<T, MAX> {
    /// Refused when there are more than `MAX`.
    pub fn new(items: &[T]) -> Result<Self> {
        let mut array = Self::default();
        let count = items.len();
        let Some(slots) = array.items.get_mut(..count) else {
            return Err(Malformed::TooLong { count, max: MAX });
        };
        slots.copy_from_slice(items);
        array.count = count;
        Ok(array)
    }
}

impl<T: Copy + Default, const MAX: usize> Default for Array<T, MAX> {
    fn default() -> Self {
        Self { items: [T::default(); MAX], count: 0 }
    }
}

impl<T, const MAX: usize> Deref for Array<T, MAX> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.items[..self.count]
    }
}

impl<T: PartialEq, const MAX: usize> PartialEq for Array<T, MAX> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const MAX: usize> Eq for Array<T, MAX> {}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for Array<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'a, T: Decode<'a> + Copy + Default, const MAX: usize> Decode<'a> for Array<T, MAX> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let mut array = Self::default();
        let count = r.count(MAX)?;
        for slot in &mut array.items[..count] {
            *slot = T::decode(r)?;
        }
        array.count = count;
        Ok(array)
    }
}

impl<T: Encode, const MAX: usize> Encode for Array<T, MAX> {
    fn encode(&self, w: &mut Writer<'_>) {
        // A count above 2^32 does not fit an array held in place.
        w.u32(self.count as u32);
        for item in &**self {
            item.encode(w);
        }
    }
}

/// A linked list (RFC 4506 4.19) as its bytes: checked whole when decoded, its items made anew while iterating.
pub struct List<'a, T> {
    /// Everything up to and without the final FALSE.
    items: &'a [u8],
    item: PhantomData<fn() -> T>,
}

impl<'a, T> List<'a, T> {
    /// The list without items.
    pub const EMPTY: Self = Self { items: &[], item: PhantomData };

    /// A list of these items, its bytes held by `scratch`.
    pub fn of(scratch: &'a mut Vec<u8>, items: impl IntoIterator<Item = T>) -> Self
    where
        T: Encode,
    {
        scratch.clear();
        let mut w = Writer::new(scratch);
        for item in items {
            w.bool(true);
            item.encode(&mut w);
        }
        Self { items: scratch, item: PhantomData }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, in the order of the wire.
    pub fn iter(&self) -> Items<'a, T> {
        Items { reader: Reader::new(self.items), item: PhantomData }
    }
}

/// The items of a [`List`].
#[derive(Clone, Debug)]
pub struct Items<'a, T> {
    reader: Reader<'a>,
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Decode<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // The list was checked when it was made: an error here is its end.
        self.reader.u32().ok()?;
        T::decode(&mut self.reader).ok()
    }
}

impl<'a, T: Decode<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Decode<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Decode<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Decode<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for List<'a, T> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let whole = r.rest();
        let mut items_bytes = 0;
        let start = r.position();
        while r.bool()? {
            T::decode(r)?;
            items_bytes = r.position() - start;
        }
        Ok(Self { items: &whole[..items_bytes], item: PhantomData })
    }
}

impl<T> Encode for List<'_, T> {
    fn encode(&self, w: &mut Writer<'_>) {
        w.raw(self.items);
        w.bool(false);
    }
}

/// Implements both directions of a type that the reader and the writer know by name.
macro_rules! primitive {
    ($($name:ident),*) => {$(
        impl Decode<'_> for $name {
            #[inline]
            fn decode(r: &mut Reader<'_>) -> Result<Self> {
                r.$name()
            }
        }

        impl Encode for $name {
            #[inline]
            fn encode(&self, w: &mut Writer<'_>) {
                w.$name(*self);
            }
        }
    )*};
}

primitive!(u32, i32, u64, i64, bool);

/// `void`.
impl Decode<'_> for () {
    #[inline]
    fn decode(_: &mut Reader<'_>) -> Result<Self> {
        Ok(())
    }
}

impl Encode for () {
    #[inline]
    fn encode(&self, _: &mut Writer<'_>) {}
}

/// `opaque data[N]`. `N` is a multiple of four, so that there is no padding.
impl<const N: usize> Decode<'_> for [u8; N] {
    #[inline]
    fn decode(r: &mut Reader<'_>) -> Result<Self> {
        const { assert!(N.is_multiple_of(4)) };
        r.fixed()
    }
}

impl<const N: usize> Encode for [u8; N] {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        const { assert!(N.is_multiple_of(4)) };
        w.raw(self);
    }
}

/// `T *value`, and every union that switches on a bool with nothing in its FALSE arm.
impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        match r.bool()? {
            true => T::decode(r).map(Some),
            false => Ok(None),
        }
    }
}

impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.bool(self.is_some());
        if let Some(value) = self {
            value.encode(w);
        }
    }
}

impl<T: Encode> Encode for &T {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        (**self).encode(w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bool_is_zero_or_one_and_nothing_else() {
        assert_eq!(decode_all(&[0, 0, 0, 1]), Ok(true));
        assert_eq!(decode_all(&[0, 0, 0, 0]), Ok(false));
        for other in [2, 3, 1 << 24, u32::MAX] {
            assert_eq!(decode_all::<bool>(&other.to_be_bytes()), Err(Malformed::BadBool(other)));
        }
    }

    #[test]
    fn an_opaque_is_followed_by_padding_that_is_skipped() {
        let mut r = Reader::new(b"\0\0\0\x05helloXYZ\0\0\0\x07");
        assert_eq!(r.opaque(5), Ok(&b"hello"[..]));
        assert_eq!(r.position(), 12);
        assert_eq!(r.u32(), Ok(7));
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn an_opaque_above_its_maximum_is_refused_before_its_bytes_are_looked_at() {
        assert_eq!(decode_all::<Opaque<'_, 4>>(&[0xFF; 4]), Err(Malformed::TooLong { count: 0xFFFF_FFFF, max: 4 }));
        assert!(Opaque::<4>::new(b"12345").is_err());
    }

    #[test]
    fn missing_padding_is_a_truncation() {
        assert_eq!(decode_all::<Opaque<'_, 8>>(b"\0\0\0\x01a"), Err(Malformed::Truncated { needed: 3, left: 0 }));
    }

    #[test]
    fn bytes_after_the_value_are_noticed() {
        assert_eq!(decode_all::<u32>(&[0; 5]), Err(Malformed::TrailingBytes(1)));
    }

    #[test]
    fn a_list_gives_back_the_items_it_was_made_of() {
        let mut scratch = Vec::new();
        let list = List::of(&mut scratch, [3_u32, 1, 2]);
        let bytes = encode_vec(&list);
        assert_eq!(bytes.len(), 3 * 8 + 4);
        let back: List<'_, u32> = decode_all(&bytes).unwrap();
        assert_eq!(back.iter().collect::<Vec<_>>(), [3, 1, 2]);
        assert_eq!(back, list);
    }

    #[test]
    fn a_reserved_number_is_filled_in_where_it_stands() {
        let mut bytes = vec![9];
        let mut w = Writer::new(&mut bytes);
        let place = w.reserve_u32();
        w.opaque(b"ab");
        w.fill(place, 0x0102_0304);
        assert_eq!(bytes, [9, 1, 2, 3, 4, 0, 0, 0, 2, b'a', b'b', 0, 0]);
    }

    #[test]
    fn filling_a_place_that_was_taken_back_does_nothing() {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let place = w.reserve_u32();
        w.truncate(2);
        w.fill(place, 1);
        assert_eq!(bytes, [0, 0]);
    }
}
