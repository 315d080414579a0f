//! Some hundreds of simulated cities; thousands with `cargo run --release -p benches --bin sim -- --seeds 10000`.

use benches::sim;

/// As many as some seconds allow in a debug build.
const SEEDS: std::ops::Range<u64> = 1..151;

fn all(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        if let Err(failure) = sim::run(seed) {
            panic!("{failure}\nagain: cargo run --release -p benches --bin sim -- --seed {seed}");
        }
    }
}

#[test]
fn every_promise_holds_in_even_cities() {
    all(SEEDS.filter(|seed| seed % 2 == 0));
}

#[test]
fn every_promise_holds_in_odd_cities() {
    all(SEEDS.filter(|seed| seed % 2 == 1));
}

#[test]
fn the_same_seed_comes_to_the_same_end() {
    for seed in 1..6 {
        let end = sim::run(seed).expect("green");
        assert_eq!(sim::run(seed).expect("green"), end, "seed {seed}");
    }
    assert_ne!(sim::run(1).expect("green").digest, sim::run(2).expect("green").digest);
}
