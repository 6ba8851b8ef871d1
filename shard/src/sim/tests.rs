//! Whole-server histories, some hundreds in every run of the tests. `cargo xtask sim` runs more.
//!
//! `BASALT_SEED=n` runs one seed, `BASALT_SEEDS=n` runs that many.

use super::history::replay_over;
use super::{drive, run, sequence, sequences};
use cache::sim::Rng;

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

/// A segment whose file could not be made for want of room, and was made later, when a newer one had been used: the
/// next fold gave it up with two acknowledged WRITEs in it.
#[test]
fn a_segment_that_is_made_late_is_not_used_after_a_newer_one() {
    run(95_000_755);
}

/// A SETATTR that was refused beside one that was not: the attributes with the refusal are of after both, and the judge
/// took it for alone because the other one had been answered just before.
#[test]
fn a_refusal_may_show_what_a_call_beside_it_changed() {
    run(91_014_843);
}

#[test]
fn every_operation_survives_a_crash_at_each_of_its_effects() {
    let points: u64 = (0..sequences(1)).map(|number| sequence(1, number).points).sum();
    assert!(points >= 4 * sequences(1), "{points} crash points of {} operations", sequences(1));
}

#[test]
fn any_two_operations_survive_a_crash_at_each_of_their_effects() {
    // All of them with `cargo xtask sim --sequences 2`.
    let mut rng = Rng::new(2);
    for _ in 0..SAMPLED {
        sequence(2, rng.below(sequences(2)));
    }
}

#[test]
fn any_bytes_drive_the_server_without_an_impossible_answer() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..rng.below(160)).map(|_| rng.bits() as u8).collect();
        drive(&bytes);
    }
}

#[test]
fn bytes_that_ask_for_nothing_but_pauses_come_to_an_end() {
    drive(&[0xFF; 1024]);
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_disk_that_lies_about_flushes_is_found_out() {
    let is_found_out = |seed| std::panic::catch_unwind(|| replay_over(seed, |_, disk| disk.lie())).is_err();
    assert!((0..40).any(is_found_out), "acknowledged bytes were lost, and nobody has noticed");
}

#[test]
fn a_write_that_comes_late_is_seen_to_undo_later_ones() {
    let late = |seed| replay_over(seed, |rules, _| rules.comes_late = false);
    assert!((0..100).any(|seed| std::panic::catch_unwind(|| late(seed)).is_err()), "no copy came late enough");
}

const SAMPLED: u64 = 160;
