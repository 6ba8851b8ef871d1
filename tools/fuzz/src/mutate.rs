//! Makes a new input out of one that is worth it. Pure but for the random numbers; no allocation once the buffers
//! have grown.
//!
//! Caller: the engine. Besides the usual changes of bits, bytes and blocks it knows what all formats here are made
//! of: numbers of 2, 4 and 8 bytes in either order, mostly on a boundary of four, and words of the target's.

use crate::random::Random;

/// Changes `input` at some places; `other` is another input that parts are taken from.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], input_max: usize, random: &mut Random) {
    for _ in 0..1 << random.below(4) {
        change(input, other, words, random);
    }
    input.truncate(input_max);
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    if input.is_empty() {
        input.extend_from_slice(&random.bits().to_le_bytes());
    }
    let at = random.below(input.len());
    match random.below(14) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.bits() as u8,
        2 => input[at] = input[at].wrapping_add(random.below(33) as u8).wrapping_sub(16),
        3..=5 => number(input, random),
        6 => step(input, random),
        7 => drop(input.drain(at..(at + short(random)).min(input.len()))),
        8 => insert(input, at, &random.bits().to_le_bytes()[..1 + random.below(8)]),
        9 => copy_within(input, random),
        10 => take_from(input, other, random),
        11 if !words.is_empty() => word(input, words[random.below(words.len())], random),
        12 if random.below(4) == 0 => input.truncate(at),
        13 => input.extend(std::iter::repeat_n(*random.pick(&[0, 0xFF, b'a']), short(random))),
        _ => input[at] = *random.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
    }
}

/// A place in `input`, more often than not on a boundary of four.
fn place(input: &[u8], random: &mut Random) -> usize {
    let at = random.below(input.len().max(1));
    if random.below(4) == 0 { at } else { at & !3 }
}

/// A length: short ones are likelier.
fn short(random: &mut Random) -> usize {
    let limit = *random.pick(&[2, 4, 4, 8, 16, 64, 512]);
    1 + random.below(limit)
}

/// Writes a number that is at the edge of something.
fn number(input: &mut [u8], random: &mut Random) {
    let at = place(input, random);
    let value = match random.below(4) {
        0 => random.below(32) as u64,
        1 => (input.len() - at) as u64,
        _ => *random.pick(EDGES),
    };
    let value = match random.below(8) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        _ => value,
    };
    let bytes = *random.pick(&[2, 4, 4, 4, 8]);
    put(&mut input[at..], value, bytes, random.below(3) == 0);
}

/// Adds a little to a number that is there.
fn step(input: &mut [u8], random: &mut Random) {
    let at = place(input, random);
    let bytes = *random.pick(&[2, 4, 4, 8]);
    let is_little = random.below(3) == 0;
    let Some(field) = input.get(at..at + bytes) else { return };
    let mut value = [0; 8];
    value[8 - bytes..].copy_from_slice(field);
    if is_little {
        value[8 - bytes..].reverse();
    }
    let value = u64::from_be_bytes(value).wrapping_add(random.below(17) as u64).wrapping_sub(8);
    put(&mut input[at..], value, bytes, is_little);
}

fn put(place: &mut [u8], value: u64, bytes: usize, is_little: bool) {
    let mut field = value.to_be_bytes();
    let field = &mut field[8 - bytes..];
    if is_little {
        field.reverse();
    }
    let bytes = bytes.min(place.len());
    place[..bytes].copy_from_slice(&field[..bytes]);
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Copies a block of the input over another place of it, or makes it longer by it.
fn copy_within(input: &mut Vec<u8>, random: &mut Random) {
    let from = place(input, random);
    let bytes = short(random).min(input.len() - from);
    let to = place(input, random);
    if random.below(2) == 0 {
        let bytes = bytes.min(input.len() - to);
        input.copy_within(from..from + bytes, to);
        return;
    }
    let len = input.len();
    input.extend_from_within(from..from + bytes);
    input[to..].rotate_right(bytes);
    assert_eq!(input.len(), len + bytes);
}

/// Takes a block of the other input, or all of it from some place on.
fn take_from(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if other.is_empty() {
        return;
    }
    let from = place(other, random);
    let to = place(input, random);
    if random.below(3) == 0 {
        input.truncate(to);
        input.extend_from_slice(&other[from..]);
        return;
    }
    let bytes = short(random).min(other.len() - from);
    let block = &other[from..from + bytes];
    match random.below(2) {
        0 => insert(input, to, block),
        _ => {
            let bytes = bytes.min(input.len() - to);
            input[to..to + bytes].copy_from_slice(&block[..bytes]);
        }
    }
}

fn word(input: &mut Vec<u8>, word: &[u8], random: &mut Random) {
    let at = place(input, random);
    if random.below(2) == 0 {
        return insert(input, at, word);
    }
    let bytes = word.len().min(input.len() - at);
    input[at..at + bytes].copy_from_slice(&word[..bytes]);
}

/// Numbers where something of our formats begins or ends.
const EDGES: &[u64] = &[
    0,
    1,
    31,
    32,
    40,
    64,
    128,
    255,
    256,
    400,
    512,
    1024,
    2048,
    4096,
    8192,
    65_536,
    999_999_999,
    1 << 20,
    1 << 21,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_stays_within_the_limit_and_a_seed_repeats_itself() {
        let words: &[&[u8]] = &[b"word"];
        let run = |seed| {
            let random = &mut Random::new(seed);
            let mut input = vec![7; 20];
            for _ in 0..20_000 {
                mutate(&mut input, b"another input", words, 100, random);
                assert!(input.len() <= 100);
            }
            input
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }
}
