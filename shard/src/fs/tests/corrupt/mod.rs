//! One place is damaged, then everything is asked: each answer is the right one or an error, never anything else.
//!
//! A filesystem with a tree of directories, links and files is made once ([`image`]); each corruption gets a copy of it.
//! What is asked and what is right comes from the same questions put to an undamaged copy ([`oracle`]), whose files are
//! compared with what was written: each sixteen bytes say which file, version and offset they are of.
//!
//! `BASALT_CORRUPTIONS=n` makes n of each kind of place, `BASALT_CORRUPTION_FIRST=n` begins at another seed.

mod image;
mod journal;
mod ledger;
mod log;
mod oracle;

use cache::sim::Rng;
use std::collections::BTreeMap;
use std::fmt;

/// What is done to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    /// One bit is inverted.
    Bit,
    /// 512 bytes become zeros.
    Zeroed,
    /// 512 bytes become others.
    Random,
    /// What was written last to one place is found at another, and the one has what it had before.
    Misdirected,
}

const DAMAGES: [Damage; 4] = [Damage::Bit, Damage::Zeroed, Damage::Random, Damage::Misdirected];
const SECTOR_BYTES: usize = 512;

impl Damage {
    fn any(rng: &mut Rng) -> Damage {
        DAMAGES[rng.below(DAMAGES.len() as u64) as usize]
    }

    /// Damages a block within itself; [`Damage::Misdirected`] takes two.
    fn apply(self, bytes: &mut [u8], rng: &mut Rng) {
        let sector = rng.below((bytes.len() / SECTOR_BYTES) as u64) as usize * SECTOR_BYTES;
        let sector = sector..sector + SECTOR_BYTES;
        match self {
            Damage::Bit => bytes[rng.below(bytes.len() as u64) as usize] ^= 1 << rng.below(8),
            Damage::Zeroed => bytes[sector].fill(0),
            Damage::Random => bytes[sector].iter_mut().for_each(|byte| *byte = rng.bits() as u8),
            Damage::Misdirected => unreachable!("a misdirected write is of two places"),
        }
    }
}

/// What came of a corruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Every answer was right.
    Harmless,
    /// Some answer was an error, all others were right.
    Error,
    /// It was not opened.
    Refused,
    /// The process ended: LMDB follows what its pages say.
    Ended,
    /// Some answer was neither right nor an error.
    Wrong,
}

/// How often what came of what.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<(String, Damage, Outcome), u64>,
}

impl Tally {
    fn count(&mut self, place: &str, damage: Damage, outcome: Outcome) {
        *self.counts.entry((place.to_owned(), damage, outcome)).or_default() += 1;
    }

    fn total(&self, outcome: Outcome) -> u64 {
        self.counts.iter().filter(|((_, _, of), _)| *of == outcome).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((place, damage, outcome), count) in &self.counts {
            writeln!(f, "{place:<28} {:<12} {:<9} {count:>7}", format!("{damage:?}"), format!("{outcome:?}"))?;
        }
        Ok(())
    }
}

/// The seeds of a campaign: as many as asked for, or `few`.
fn campaign(few: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let first = number("BASALT_CORRUPTION_FIRST").unwrap_or(0);
    first..first + number("BASALT_CORRUPTIONS").unwrap_or(few)
}
