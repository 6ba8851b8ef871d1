//! The whole server in the simulated world, with the model as judge: clients, a bad network, crashes, recoveries.
//!
//! Input: decisions of four bytes each: which client asks for what, when the disk fails, when the server dies.

use super::Target;
use crate::random::Random;
use shard::sim;

pub(super) const SERVER: Target = Target {
    name: "server",
    about: "the whole server in the simulator, judged by the model: calls, a bad network, crashes",
    input_max: 1024,
    // A server has its cache, its buffers and its ledger.
    working_bytes: 512 << 20,
    words: &[],
    seeds,
    run: sim::drive,
};

fn seeds() -> Vec<Vec<u8>> {
    let decisions = |seed: u64| {
        let random = &mut Random::new(seed);
        (0..64 * seed).map(|_| random.bits() as u8).collect()
    };
    (1..=6).map(decisions).collect()
}
