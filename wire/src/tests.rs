//! Tests over all types at once: see each file below.

pub(crate) use dice::{Dice, Sample};

mod dice;
