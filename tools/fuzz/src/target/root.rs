//! The ledger's root: two slots, of which the newer one that checks counts. A slot that is decoded at all is written
//! again in the same bytes.
//!
//! Input: a byte that says of which slots the checksum is put right, a byte with the length of the first slot's bytes,
//! these, and those of the second; the rest of each slot is zero.

use super::Target;
use shard::ledger::root::{META_BYTES, Root, SLOT_BYTES, decode, encode, newest};

pub(super) const ROOT: Target = Target {
    name: "root",
    about: "the ledger's root: its slots, their checksums, and which of them counts",
    input_max: 2 + 255 + 255,
    working_bytes: 0,
    words: &[b"BSLR\x03\0\0\0", b"\xde\xc0\xef\xbe\x01\0\0\0", b"\0\x10\0\0"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some(([how, first_bytes], rest)) = input.split_first_chunk::<2>() else { return };
    let (first, second) = rest.split_at(usize::from(*first_bytes).min(rest.len()));
    let mut file = [0; 2 * SLOT_BYTES];
    let (one, other) = file.split_at_mut(SLOT_BYTES);
    fill(one, first, how % 8 != 0);
    fill(other, second, how / 8 % 8 != 0);
    let slots = [written_again(one), written_again(other)];
    match newest(&file) {
        None => assert_eq!(slots, [None, None]),
        Some((root, slot)) => {
            assert_eq!(slots[slot], Some(root));
            assert!(slots.iter().flatten().all(|other| other.from.epoch <= root.from.epoch));
        }
    }
    // A file that was cut off has the slots that are whole.
    let cut = SLOT_BYTES + usize::from(*how) % SLOT_BYTES;
    assert_eq!(newest(&file[..cut]), slots[0].map(|root| (root, 0)));
}

fn fill(slot: &mut [u8], bytes: &[u8], is_sealed: bool) {
    let bytes = &bytes[..bytes.len().min(SLOT_BYTES)];
    slot[..bytes.len()].copy_from_slice(bytes);
    if is_sealed {
        let checksum = crc32c::crc32c(&slot[..CHECKSUM_AT]);
        slot[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn written_again(slot: &[u8]) -> Option<Root> {
    let root = decode(slot)?;
    let mut again = [0; SLOT_BYTES];
    encode(&root, &mut again);
    assert!(again == *slot, "read and written again, the root is another one");
    assert_eq!(root.tree.number().to_le_bytes(), slot[TREE_AT + META_BYTES - 8..TREE_AT + META_BYTES]);
    Some(root)
}

const TREE_AT: usize = 40;
const CHECKSUM_AT: usize = SLOT_BYTES - 4;

fn seeds() -> Vec<Vec<u8>> {
    let slot = |epoch: u8| {
        let mut slot = vec![0; TREE_AT + META_BYTES + 8];
        slot[TREE_AT + META_BYTES..].fill(0xd1 ^ epoch);
        slot[..6].copy_from_slice(b"BSLR\x03\0");
        (slot[8], slot[16], slot[24], slot[32]) = (5, epoch, 9, 3);
        // LMDB's magic, its version, the size of a page, a transaction.
        slot[TREE_AT..TREE_AT + 5].copy_from_slice(b"\xde\xc0\xef\xbe\x01");
        slot[TREE_AT + 25] = 0x10;
        slot[TREE_AT + 128] = epoch;
        slot
    };
    let with = |how: u8, first: &[u8], second: &[u8]| [&[how, first.len() as u8], first, second].concat();
    let mut sealed = [0; SLOT_BYTES];
    fill(&mut sealed, &slot(1), true);
    assert!(decode(&sealed).is_some());
    vec![with(9, &slot(1), &slot(2)), with(9, &slot(3), &slot(2)), with(1, &slot(3), &slot(4)), with(9, &slot(3), &[])]
}
