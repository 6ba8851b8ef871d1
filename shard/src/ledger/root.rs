//! The root: which tree of LMDB's file is whole on disk, and where the journal goes on from it.
//!
//! Callers: the keeper (writes one with each checkpoint), the start (reads it and makes LMDB begin
//! there). LMDB's own two meta pages name its newest trees, whose pages may not be durable; the root
//! keeps a copy of the meta page of a tree that is. Two slots are written in turns; the valid one
//! with the higher epoch counts. docs/format.md has every byte.

use super::journal::{From, Place};
use super::media::{ALIGNMENT, Aligned, Media, Witness};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::io;
use std::num::Wrapping;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Where the journal goes on.
    pub from: From,
    /// The tree.
    pub tree: Tree,
    /// What all pages of the tree's tables have to be: the sum of what [`digest_of`] says of each.
    pub digest: u64,
}

/// LMDB's record of a tree: its meta page without what names the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    meta: [u8; META_BYTES],
}

impl Tree {
    /// The tree that the transaction `number` made, from LMDB's file; its pages were handed to the
    /// kernel, and a newer transaction has not been committed yet.
    pub(super) fn of_transaction(data: &std::fs::File, number: u64) -> io::Result<Tree> {
        let tree = Tree::newest(data)?;
        if tree.number() == number {
            return Ok(tree);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "LMDB has no meta page of its newest transaction"))
    }

    /// The tree that LMDB would open.
    pub(super) fn newest(data: &std::fs::File) -> io::Result<Tree> {
        let mut pages = [0; 2 * PAGE_BYTES];
        data.read_exact_at(&mut pages, 0)?;
        let tree = |page: usize| Tree::from_meta(&pages[page * PAGE_BYTES + PAGE_HEAD_BYTES..]);
        let trees = [tree(0), tree(1)].into_iter().flatten();
        trees
            .max_by_key(Tree::number)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "LMDB's meta pages are damaged"))
    }

    /// The transaction that made it.
    pub fn number(&self) -> u64 {
        self.u64_at(META_TRANSACTION_AT)
    }

    /// The tree of tables.
    pub(super) fn main(&self) -> TreeRoot {
        TreeRoot::of(&self.meta[META_MAIN_AT..][..TreeRoot::BYTES]).unwrap_or(TreeRoot::EMPTY)
    }

    /// Makes LMDB begin with this tree, whatever its meta pages say. LMDB must not be open.
    pub(super) fn restore(&self, data: &std::fs::File) -> io::Result<()> {
        for number in 0..2_u64 {
            let mut page = [0; PAGE_BYTES];
            page[..8].copy_from_slice(&number.to_le_bytes());
            page[10..12].copy_from_slice(&PAGE_IS_META.to_le_bytes());
            page[PAGE_HEAD_BYTES..][..META_BYTES].copy_from_slice(&self.meta);
            data.write_all_at(&page, number * PAGE_BYTES as u64)?;
        }
        Ok(())
    }

    fn from_meta(bytes: &[u8]) -> Option<Tree> {
        let tree = Tree { meta: *bytes.first_chunk()? };
        let magic = u32::from_le_bytes(*tree.meta.first_chunk()?);
        let version = u32::from_le_bytes(*tree.meta[4..].first_chunk()?);
        let page_bytes = u32::from_le_bytes(*tree.meta[META_PAGE_BYTES_AT..].first_chunk()?);
        (magic == META_MAGIC && version == META_VERSION && page_bytes as usize == PAGE_BYTES).then_some(tree)
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|index| self.meta[at + index]))
    }
}

/// Where a table begins, by LMDB's record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeRoot {
    /// The page at the top.
    pub(super) page: u64,
    /// Levels; none where there are no rows.
    pub(super) depth: u16,
    /// Pages.
    pub(super) pages: u64,
}

impl TreeRoot {
    pub(super) const EMPTY: TreeRoot = TreeRoot { page: u64::MAX, depth: 0, pages: 0 };
    const BYTES: usize = 48;

    /// From its record; `None` where it cannot be one.
    pub(super) fn of(record: &[u8]) -> Option<TreeRoot> {
        let record: &[u8; TreeRoot::BYTES] = record.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| record[at + index]));
        let depth = u16::from_le_bytes([record[6], record[7]]);
        // Branches, leaves, pages of large values.
        let pages = u64_at(8).checked_add(u64_at(16))?.checked_add(u64_at(24))?;
        let root = TreeRoot { page: u64_at(40), depth, pages };
        (depth <= DEPTH_MAX && (depth == 0) == (root.page == u64::MAX)).then_some(root)
    }
}

/// What a page adds to the digest of its tree.
pub(super) fn digest_of(page: u64, sum: u32) -> Wrapping<u64> {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&page.to_le_bytes());
    bytes[8..].copy_from_slice(&sum.to_le_bytes());
    let mut hasher = SipHasher24::new();
    hasher.write(&bytes);
    Wrapping(hasher.finish())
}

/// The file of roots, open for the next one.
#[derive(Debug)]
pub(super) struct Roots {
    file: Media,
    next_slot: usize,
    buffer: Aligned,
}

impl Roots {
    /// Makes the file without a root in it.
    pub(super) fn make(directory: &Path, witness: Option<&Witness>) -> io::Result<Roots> {
        let file = Media::make(directory.join(FILE), (SLOTS * SLOT_BYTES) as u64, witness)?;
        Ok(Roots { file, next_slot: 0, buffer: Aligned::default() })
    }

    /// Opens the file, which is locked until it is closed: nobody else changes this ledger. Answers its
    /// newest root; `None` where it has none.
    pub(super) fn open(directory: &Path, witness: Option<&Witness>) -> io::Result<Option<(Root, Roots)>> {
        let file = match Media::open(directory.join(FILE), witness) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.lock()?;
        let Some((root, slot)) = read(directory)? else { return Ok(None) };
        Ok(Some((root, Roots { file, next_slot: (slot + 1) % SLOTS, buffer: Aligned::default() })))
    }

    /// Writes the next root, durably: its tree must be.
    pub(super) fn write(&mut self, root: &Root) -> io::Result<()> {
        let slot = self.buffer.zeroed(SLOT_BYTES);
        encode(root, slot);
        self.file.write((self.next_slot * SLOT_BYTES) as u64, slot)?;
        self.next_slot = (self.next_slot + 1) % SLOTS;
        Ok(())
    }
}

/// The newest root in a ledger's directory, and its slot.
pub(super) fn read(directory: &Path) -> io::Result<Option<(Root, usize)>> {
    let bytes = match std::fs::read(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(newest(&bytes))
}

/// The newest root in the bytes of the file, and its slot.
pub fn newest(bytes: &[u8]) -> Option<(Root, usize)> {
    let slots = bytes.chunks(SLOT_BYTES).take(SLOTS).enumerate();
    let valid = slots.filter_map(|(index, slot)| Some((decode(slot)?, index)));
    valid.max_by_key(|(root, _)| root.from.epoch)
}

/// Writes a root into `slot`, which is zeroed.
pub fn encode(root: &Root, slot: &mut [u8]) {
    assert_eq!(slot.len(), SLOT_BYTES);
    let From { filesystem, epoch, place } = root.from;
    slot[..4].copy_from_slice(&MAGIC);
    slot[4..6].copy_from_slice(&VERSION.to_le_bytes());
    slot[8..16].copy_from_slice(&filesystem.to_le_bytes());
    slot[16..24].copy_from_slice(&epoch.to_le_bytes());
    slot[24..32].copy_from_slice(&place.sequence.to_le_bytes());
    slot[32..36].copy_from_slice(&place.previous.to_le_bytes());
    slot[TREE_AT..DIGEST_AT].copy_from_slice(&root.tree.meta);
    slot[DIGEST_AT..UNUSED_AT].copy_from_slice(&root.digest.to_le_bytes());
    let checksum = crc32c::crc32c(&slot[..CHECKSUM_AT]);
    slot[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a slot; `None` where it does not check.
pub fn decode(slot: &[u8]) -> Option<Root> {
    let slot = slot.first_chunk::<SLOT_BYTES>()?;
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| slot[at + index]));
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| slot[at + index]));
    let checks = crc32c::crc32c(&slot[..CHECKSUM_AT]) == u32_at(CHECKSUM_AT);
    let mut unused = slot[6..8].iter().chain(&slot[36..TREE_AT]).chain(&slot[UNUSED_AT..CHECKSUM_AT]);
    if !checks || slot[..4] != MAGIC || slot[4..6] != VERSION.to_le_bytes() || unused.any(|&byte| byte != 0) {
        return None;
    }
    let tree = Tree::from_meta(&slot[TREE_AT..])?;
    let place = Place { sequence: u64_at(24), previous: u32_at(32) };
    let from = From { filesystem: u64_at(8), epoch: u64_at(16), place };
    Some(Root { from, tree, digest: u64_at(DIGEST_AT) })
}

/// The file of roots, within the ledger's directory.
pub const FILE: &str = "root";
/// Bytes of a slot.
pub const SLOT_BYTES: usize = ALIGNMENT;
/// Bytes of LMDB's record of a tree.
pub const META_BYTES: usize = 136;
const SLOTS: usize = 2;
const TREE_AT: usize = 40;
const DIGEST_AT: usize = TREE_AT + META_BYTES;
const UNUSED_AT: usize = DIGEST_AT + 8;
const CHECKSUM_AT: usize = SLOT_BYTES - 4;
const MAGIC: [u8; 4] = *b"BSLR";
const VERSION: u16 = 3;

// LMDB 0.9, on a machine with 64 bits: a page's head is its number (u64), two bytes, flags (u16) and
// four bytes; a meta page goes on with magic, version, address, length of the map, the two trees'
// records (48 bytes each; the first begins with the size of a page), last page and transaction.
/// Bytes of a page of LMDB.
pub(super) const PAGE_BYTES: usize = 4096;
pub(super) const PAGE_HEAD_BYTES: usize = 16;
const PAGE_IS_META: u16 = 0x08;
const META_MAGIC: u32 = 0xbeef_c0de;
const META_VERSION: u32 = 1;
const META_PAGE_BYTES_AT: usize = 24;
const META_MAIN_AT: usize = 72;
const META_TRANSACTION_AT: usize = 128;
/// LMDB has no deeper ones.
const DEPTH_MAX: u16 = 32;
