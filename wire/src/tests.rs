//! Tests over all types at once: round trips, truncations and wrong lengths ([`hostile`]), another implementation
//! of the same RFCs as judge ([`oracle`]), and frames of a real client ([`golden`]).

pub(crate) use dice::{Dice, Sample};

mod dice;
mod golden;
mod hostile;
mod oracle;
