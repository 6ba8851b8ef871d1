//! Whole-server histories, some hundreds in every run of the tests. `cargo xtask sim` runs more.

use super::run;

#[test]
fn a_history_is_what_the_model_allows_at_every_crash() {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let seeds = match number("BASALT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BASALT_SEEDS").unwrap_or(300),
    };
    let points: u64 = seeds.map(|seed| run(seed).points).sum();
    assert!(points > 0, "histories without a crash prove nothing");
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
