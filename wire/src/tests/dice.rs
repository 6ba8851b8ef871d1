//! Random values of every type, the same ones for the same seed. The definitions' macros derive [`Sample`].

use crate::mount::{MountResult, Mountstat3};
use crate::nfs3::{Nfsstat3, Res};
use crate::rpc::{AuthFlavor, ReplyBody, ReplyHeader};
use crate::xdr::{Array, Encode, List, Opaque};

/// A source of numbers: SplitMix64.
pub(crate) struct Dice(u64);

/// A type that the dice can make a value of.
pub(crate) trait Sample: Sized {
    fn sample(dice: &mut Dice) -> Self;
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, mostly a small one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.number() as usize % end
    }

    pub(crate) fn sample<T: Sample>(&mut self) -> T {
        T::sample(self)
    }
}

/// The bytes that sampled opaques are cut from.
static BYTES: [u8; 300] = {
    let mut bytes = [0; 300];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = (i * 37 + 11) as u8;
        i += 1;
    }
    bytes
};

impl Sample for () {
    fn sample(_: &mut Dice) -> Self {}
}

impl Sample for bool {
    fn sample(dice: &mut Dice) -> Self {
        dice.below(2) == 1
    }
}

impl Sample for u32 {
    fn sample(dice: &mut Dice) -> Self {
        match dice.below(4) {
            0 => dice.below(3) as u32,
            1 => u32::MAX,
            _ => dice.number() as u32,
        }
    }
}

impl Sample for i32 {
    fn sample(dice: &mut Dice) -> Self {
        dice.number() as i32
    }
}

impl Sample for u64 {
    fn sample(dice: &mut Dice) -> Self {
        match dice.below(4) {
            0 => dice.below(3) as u64,
            1 => u64::MAX,
            _ => dice.number(),
        }
    }
}

impl Sample for i64 {
    fn sample(dice: &mut Dice) -> Self {
        dice.number() as i64
    }
}

impl<const N: usize> Sample for [u8; N] {
    fn sample(dice: &mut Dice) -> Self {
        std::array::from_fn(|_| dice.number() as u8)
    }
}

impl Sample for AuthFlavor {
    fn sample(dice: &mut Dice) -> Self {
        Self(dice.sample())
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(dice: &mut Dice) -> Self {
        dice.sample::<bool>().then(|| dice.sample())
    }
}

impl<const MAX: usize> Sample for Opaque<'static, MAX> {
    fn sample(dice: &mut Dice) -> Self {
        let longest = MAX.min(BYTES.len() - 4);
        let len = match dice.below(8) {
            0 => longest,
            _ => dice.below(longest.min(20) + 1),
        };
        let start = dice.below(4);
        Self::new(&BYTES[start..start + len]).unwrap()
    }
}

impl<T: Sample + Copy + Default, const MAX: usize> Sample for Array<T, MAX> {
    fn sample(dice: &mut Dice) -> Self {
        let items: Vec<T> = (0..dice.below(MAX + 1)).map(|_| dice.sample()).collect();
        Self::new(&items).unwrap()
    }
}

impl<T: Sample + Encode> Sample for List<'static, T> {
    fn sample(dice: &mut Dice) -> Self {
        let items: Vec<T> = (0..dice.below(4)).map(|_| dice.sample()).collect();
        List::of(Box::leak(Box::default()), items)
    }
}

impl<Ok: Sample, Fail: Sample> Sample for Res<Ok, Fail> {
    fn sample(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::Fail(dice.sample::<Nfsstat3>(), dice.sample()),
            _ => Self::Ok(dice.sample()),
        }
    }
}

impl<T: Sample> Sample for MountResult<T, Mountstat3> {
    fn sample(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::Fail(dice.sample()),
            _ => Self::Ok(dice.sample()),
        }
    }
}

impl<T: Sample> Sample for MountResult<T, u32> {
    fn sample(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => Self::Fail(1 + dice.below(100) as u32),
            _ => Self::Ok(dice.sample()),
        }
    }
}

impl Sample for ReplyHeader<'static> {
    fn sample(dice: &mut Dice) -> Self {
        let xid = dice.sample();
        let body = match dice.below(3) {
            0 => ReplyBody::Denied(dice.sample()),
            _ => ReplyBody::Accepted { verf: dice.sample(), stat: dice.sample() },
        };
        Self { xid, body }
    }
}
