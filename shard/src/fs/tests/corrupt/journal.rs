//! Damage in the ledger's journal, before a start that replays it.

use super::image::{Copied, Ended, Image};
use super::log::outcome;
use super::oracle::Oracle;
use super::{Damage, Outcome, Tally, campaign};
use crate::ledger::journal::{FILES, decode};
use cache::extent::BLOCK_BYTES;
use cache::sim::Rng;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A block of a file of the journal.
type At = (&'static str, usize);

/// Blocks that were ever written, in the order in which they were, as records say of themselves.
fn written(image: &Image) -> Vec<At> {
    let mut found = Vec::new();
    for name in FILES {
        let bytes = content(&image.ledger, name);
        let mut sequence = 0;
        for block in 0..bytes.len() / BLOCK_BYTES {
            sequence = decode(&bytes[block * BLOCK_BYTES..]).map_or(sequence, |record| record.head.place.sequence);
            found.push((sequence, (name, block)));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, at)| at).collect()
}

/// A file up to the end of the last block that is not zero.
fn content(files: &super::image::Files, name: &str) -> Vec<u8> {
    let (mut bytes, length) = files[name].clone();
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES).min(length as usize), 0);
    bytes
}

fn damage(copied: &Copied, image: &Image, written: &[At], damage: Damage, rng: &mut Rng) -> At {
    let block_of = |files, (name, block): At| {
        let bytes = content(files, name);
        bytes.get(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES).map_or(vec![0; BLOCK_BYTES], <[u8]>::to_vec)
    };
    let put = |(name, block): At, content: &[u8]| {
        let file = File::options().write(true).open(copied.ledger_file(name)).unwrap();
        file.write_all_at(content, (block * BLOCK_BYTES) as u64).unwrap();
    };
    let mut any = || rng.below(written.len() as u64) as usize;
    // What a write destroys elsewhere was written before it; what comes later puts it right.
    let (one, other) = (any(), any());
    let (one, other) = (written[one.max(other)], written[one.min(other)]);
    let mut content = block_of(&image.ledger, one);
    if damage == Damage::Misdirected {
        put(other, &content);
        content = block_of(&image.earlier_ledger, one);
    } else {
        damage.apply(&mut content, rng);
    }
    put(one, &content);
    one
}

/// The last record too is known to be there: the ledger was idle for a moment before the end.
#[test]
fn no_damage_of_the_journal_is_read_as_data() {
    let image = Image::make(Ended::Killed);
    let (oracle, written) = (Oracle::of(&image), written(&image));
    let mut tally = Tally::default();
    for seed in campaign(100) {
        let mut rng = Rng::new(seed);
        let kind = Damage::any(&mut rng);
        let copied = image.copy();
        let at = damage(&copied, &image, &written, kind, &mut rng);
        let outcome = copied.open().map_or(Outcome::Refused, |rig| outcome(&oracle.ask(&rig)));
        assert_ne!(outcome, Outcome::Wrong, "BASALT_CORRUPTION_FIRST={seed}: {kind:?} of {at:?}");
        tally.count("journal, before", kind, outcome);
    }
    eprint!("{tally}");
    assert!(tally.total(Outcome::Refused) > 0, "no damage was met at all");
}
