//! Pages of LMDB's file, each checked before it is used.
//!
//! Callers: [`super::stored`], which follows them from the root of a table to its rows. LMDB's pages carry no
//! checksum, and one that was replaced by what it was some commits before would look right in itself. So what
//! a page has to be is kept here, outside of it: a CRC32 for each, four bytes in memory, taken when a checkpoint
//! has made the page. LMDB writes no page over that a snapshot can see, so that a sum is right for as long as
//! anybody looks at its page.
//!
//! Bytes of a page may be anything: nothing here trusts a length or a place in it. The layout is LMDB 0.9's on a
//! machine with 64 bits ([`super::root`]); docs/format.md has what of it is used.

use super::command::TARGET_MAX;
use super::root::{PAGE_BYTES, PAGE_HEAD_BYTES};
use super::store::Gauges;
use cache::checksum::crc32;
use memmap2::Mmap;
use rustix::fs::{SeekFrom, seek};
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A page that is not what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsound {
    /// Its number.
    pub page: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} of LMDB's file: {}", self.page, self.reason)
    }
}

impl std::error::Error for Unsound {}

/// LMDB's file as it is read, and what its pages have to be.
pub(super) struct Pages {
    map: Mmap,
    file: File,
    /// Pages of the file, which grows.
    count: AtomicU64,
    sums: Sums,
    gauges: Arc<Gauges>,
}

/// A page whose bytes were looked at.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8; PAGE_BYTES],
    number: u64,
    /// Levels of the tree from here down: 1 where the rows are.
    height: u16,
}

/// What a page holds under a number: in a branch a key and the page from it on, in a leaf a row.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    /// The lower half of a branch's page, a row's length.
    low: u32,
    /// The upper part of a branch's page, a row's kind.
    flags: u16,
    /// The value, and what comes behind it in the page.
    rest: &'a [u8],
}

/// A value: in its leaf, or in pages of its own.
pub(super) enum Value<'a> {
    Here(&'a [u8]),
    Run { first: u64, bytes: usize },
}

/// Pages that were checked lately, by one core in one turn: a page above many rows is checked once for all of
/// them. What is older is checked again, as the memory may have let it go and the disk may bring something else.
pub(super) struct Seen([Cell<u64>; SEEN_PAGES]);

impl Pages {
    pub(super) fn new(file: File, map: Mmap, gauges: Arc<Gauges>) -> io::Result<Pages> {
        let pages = Pages { sums: Sums::new(map.len()), map, file, count: AtomicU64::new(0), gauges };
        pages.measure()?;
        Ok(pages)
    }

    /// Pages in memory, which are not those of any file.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn of_image(file: File, map: Mmap, gauges: Arc<Gauges>) -> Pages {
        let count = AtomicU64::new((map.len() / PAGE_BYTES) as u64);
        Pages { sums: Sums::new(map.len()), map, file, count, gauges }
    }

    /// The memory, to be used again.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn into_image(self) -> Mmap {
        self.map
    }

    /// Takes each page for what it has to be.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn believe(&self) {
        for number in 0..self.count.load(Ordering::Acquire) {
            let whole = self.raw_run(number, 0).map(|(_, sum)| sum);
            if let Ok(sum) = whole.or_else(|_| self.bytes(number, 1).map(sum)) {
                self.set_sum(number, sum);
            }
        }
    }

    /// Takes note of how long the file is by now. Where its end is does not ask for its times, which would give it
    /// new ones with its next write.
    pub(super) fn measure(&self) -> io::Result<()> {
        let bytes = seek(&self.file, SeekFrom::End(0))?.min(self.map.len() as u64);
        self.count.store(bytes / PAGE_BYTES as u64, Ordering::Release);
        Ok(())
    }

    /// LMDB's file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// A page as it is, whatever it has to be.
    pub(super) fn raw(&self, number: u64, height: u16) -> Result<Page<'_>, Unsound> {
        let bytes = self.bytes(number, 1)?.first_chunk().ok_or(Unsound { page: number, reason: BEYOND })?;
        let page = Page { bytes, number, height };
        if page.u64_at(0) != number {
            return Err(page.unsound("it is another one"));
        }
        if page.u16_at(FLAGS_AT) != if height > 1 { IS_BRANCH } else { IS_LEAF } {
            return Err(page.unsound("it is of another kind"));
        }
        // One without nodes would let a walk go on without meeting a row.
        if !(1..=NODES_MAX).contains(&page.count()) {
            return Err(page.unsound("it has no rows, or more than there is room for"));
        }
        Ok(page)
    }

    /// The bytes of a value that has pages of its own, and the sum of those.
    pub(super) fn raw_run(&self, first: u64, bytes: usize) -> Result<(&[u8], u32), Unsound> {
        let unsound = |reason| Unsound { page: first, reason };
        let head = self.bytes(first, 1)?;
        let number = u64::from_le_bytes(*head.first_chunk().ok_or(unsound(BEYOND))?);
        let flags = u16::from_le_bytes(*head[FLAGS_AT..].first_chunk().ok_or(unsound(BEYOND))?);
        let count = u32::from_le_bytes(*head[COUNT_AT..].first_chunk().ok_or(unsound(BEYOND))?);
        if number != first || flags != IS_RUN || count > RUN_PAGES_MAX {
            return Err(unsound("it does not begin a value"));
        }
        let run = self.bytes(first, u64::from(count))?;
        let value = run.get(PAGE_HEAD_BYTES..).and_then(|rest| rest.get(..bytes)).ok_or(unsound("it is shorter"))?;
        Ok((value, sum(run)))
    }

    fn bytes(&self, first: u64, count: u64) -> Result<&[u8], Unsound> {
        let beyond = Unsound { page: first, reason: BEYOND };
        let end = first.checked_add(count).filter(|&end| end <= self.count.load(Ordering::Acquire)).ok_or(beyond)?;
        let (start, end) = (first as usize * PAGE_BYTES, end as usize * PAGE_BYTES);
        self.map.get(start..end).ok_or(beyond)
    }

    /// What a page or a run has to be; `None` where it was never looked at.
    pub(super) fn sum(&self, number: u64) -> Option<u32> {
        self.sums.get(number)
    }

    /// The page or the run has just been made, or was found to be right.
    pub(super) fn set_sum(&self, number: u64, sum: u32) {
        self.sums.set(number, sum);
    }

    /// Tells everyone of a page that is not what it has to be.
    #[cold]
    pub(super) fn report(&self, unsound: Unsound) -> Unsound {
        self.gauges.count_corrupt();
        tracing::error!(%unsound, "the ledger is damaged");
        unsound
    }
}

impl<'a> Page<'a> {
    pub(super) fn height(&self) -> u16 {
        self.height
    }

    pub(super) fn sum(&self) -> u32 {
        sum(self.bytes)
    }

    /// How many nodes it has.
    pub(super) fn count(&self) -> usize {
        usize::from(self.u16_at(NODES_END_AT)).saturating_sub(PAGE_HEAD_BYTES) / 2
    }

    /// A node: of a branch it may only have its key.
    pub(super) fn node(&self, index: usize) -> Result<Node<'a>, Unsound> {
        self.node_at(index).ok_or(self.unsound("a row lies outside of it"))
    }

    fn node_at(&self, index: usize) -> Option<Node<'a>> {
        let at = PAGE_HEAD_BYTES + 2 * index;
        let at = usize::from(u16::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?));
        let (head, rest) = self.bytes.get(at..)?.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([g, h])))?;
        Some(Node { key, low: u32::from_le_bytes([a, b, c, d]), flags: u16::from_le_bytes([e, f]), rest })
    }

    /// The row `index` of a leaf.
    pub(super) fn row(&self, index: usize) -> Result<(&'a [u8], Value<'a>), Unsound> {
        let node = self.node(index)?;
        let bytes = node.low as usize;
        let value = match node.flags {
            0 => node.rest.get(..bytes).map(Value::Here),
            HAS_RUN => node.rest.first_chunk().map(|first| Value::Run { first: u64::from_le_bytes(*first), bytes }),
            _ => None,
        };
        Ok((node.key, value.ok_or(self.unsound("a value lies outside of it"))?))
    }

    /// LMDB's record of a table, in a leaf of its tree of tables.
    pub(super) fn table(&self, name: &[u8]) -> Result<&'a [u8], Unsound> {
        let missing = self.unsound("a table is missing");
        let index = self.place(name)?;
        let node = if index < self.count() { self.node(index)? } else { return Err(missing) };
        let record = node.rest.get(..node.low as usize).filter(|_| node.key == name && node.flags == IS_TABLE);
        record.ok_or(missing)
    }

    /// The page under node `index` of a branch.
    pub(super) fn child(&self, index: usize) -> Result<u64, Unsound> {
        let node = self.node(index)?;
        Ok(u64::from(node.low) | u64::from(node.flags) << 32)
    }

    /// The first row of a leaf whose key is not before `key`.
    pub(super) fn place(&self, key: &[u8]) -> Result<usize, Unsound> {
        self.partition(0, |node| node.key < key)
    }

    /// The node of a branch below which `key` is: the last one whose key is not behind it. The first one's key is
    /// never looked at: everything before the second is below it.
    pub(super) fn way(&self, key: &[u8]) -> Result<usize, Unsound> {
        Ok(self.partition(1, |node| node.key <= key)? - 1)
    }

    /// The first node from `low` on of which it is not true.
    fn partition(&self, mut low: usize, is_before: impl Fn(&Node<'_>) -> bool) -> Result<usize, Unsound> {
        let mut high = self.count().max(low);
        while low < high {
            let middle = low.midpoint(high);
            if is_before(&self.node(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub(super) fn unsound(&self, reason: &'static str) -> Unsound {
        Unsound { page: self.number, reason }
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|index| self.bytes[at + index]))
    }
}

impl Default for Seen {
    fn default() -> Seen {
        Seen([const { Cell::new(0) }; SEEN_PAGES])
    }
}

impl Seen {
    pub(super) fn has(&self, page: u64) -> bool {
        self.0[page as usize % SEEN_PAGES].get() == page
    }

    pub(super) fn put(&self, page: u64) {
        self.0[page as usize % SEEN_PAGES].set(page);
    }

    /// Whether no page was.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.0.iter().all(|page| page.get() == 0)
    }

    /// Everything is checked again. Page 0 has no rows.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|page| page.set(0));
    }
}

/// What each page has to be; zero where that is not known. They are there for parts of the file as it grows.
struct Sums(Box<[OnceLock<Box<[AtomicU32]>>]>);

impl Sums {
    /// For a file that may become so long.
    fn new(bytes: usize) -> Sums {
        Sums((0..bytes.div_ceil(PAGE_BYTES * PART_PAGES)).map(|_| OnceLock::new()).collect())
    }

    fn get(&self, page: u64) -> Option<u32> {
        let part = self.0.get(page as usize / PART_PAGES)?.get()?;
        let sum = part[page as usize % PART_PAGES].load(Ordering::Relaxed);
        (sum != 0).then_some(sum)
    }

    fn set(&self, page: u64, sum: u32) {
        let Some(part) = self.0.get(page as usize / PART_PAGES) else { return };
        let part = part.get_or_init(|| (0..PART_PAGES).map(|_| AtomicU32::new(0)).collect());
        part[page as usize % PART_PAGES].store(sum, Ordering::Relaxed);
    }
}

/// Never zero. Rows carry CRC32C themselves, which is why a page has another one.
fn sum(bytes: &[u8]) -> u32 {
    crc32(bytes).max(1)
}

/// Pages whose sums are in one piece of memory: 64 MiB of the file.
const PART_PAGES: usize = 1 << 14;
/// Pages that one turn remembers.
const SEEN_PAGES: usize = 64;
/// Nodes of a page: each has a place of two bytes, and eight bytes before its key.
const NODES_MAX: usize = (PAGE_BYTES - PAGE_HEAD_BYTES) / (2 + 8);
/// Pages of a value. No row of ours takes more; a damaged number may not make one look at the whole file.
const RUN_PAGES_MAX: u32 = 16;
const _: () = assert!(TARGET_MAX < RUN_PAGES_MAX as usize * PAGE_BYTES / 2);
const BEYOND: &str = "it is behind the end";

// Of a page's head: flags, the end of the list of nodes (of a value's first page: how many there are).
const FLAGS_AT: usize = 10;
const NODES_END_AT: usize = 12;
const COUNT_AT: usize = 12;
const IS_BRANCH: u16 = 0x01;
const IS_LEAF: u16 = 0x02;
const IS_RUN: u16 = 0x04;
/// Of a row: its value has pages of its own; it is the record of a table.
const HAS_RUN: u16 = 0x01;
const IS_TABLE: u16 = 0x02;

#[cfg(test)]
mod tests {
    use super::super::record::sealed;
    use super::*;

    /// CRC32C would not: bytes with their own behind them change it as little as no bytes.
    #[test]
    fn a_row_in_place_of_another_one_changes_the_sum_of_its_page() {
        let page = |content: &[u8]| [b"what is before", sealed(b"key", content).as_slice(), b"and behind"].concat();
        assert_eq!(cache::checksum::crc32c(&page(b"older")), cache::checksum::crc32c(&page(b"newer")));
        assert_ne!(sum(&page(b"older")), sum(&page(b"newer")));
    }
}
