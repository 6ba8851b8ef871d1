//! The data path in the simulator: cores, disk and time from one seed, LMDB for real in a temporary
//! folder.
//!
//! `BASALT_SEED=n` runs one seed, `BASALT_SEEDS=n` runs that many from the test's first one on.

mod corrupt;
mod faults;
mod kept;
mod model;
mod moves;
mod namespace;
mod power;
mod rig;
mod seal;
mod space;
mod threads;

/// Runs `test` for `count` seeds. A panic names the seed.
pub(crate) fn seeds(count: u64, test: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let chosen = match number("BASALT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BASALT_SEEDS").unwrap_or(count),
    };
    for seed in chosen {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = result {
            eprintln!("failed with BASALT_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
