//! The whole system in virtual time, seed after seed: prints the first one that breaks a promise.

use std::process::ExitCode;
use std::time::Instant;

use benches::sim;
use clap::Parser;

/// Progress is told after so many seeds.
const PROGRESS: u64 = 1_000;

/// Runs simulated cities and holds each against the promises of the product.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this one, twice: the end must be the same.
    #[arg(long)]
    seed: Option<u64>,
    /// Go on after a failure, and count.
    #[arg(long)]
    all: bool,
}

#[allow(clippy::print_stdout)] // the results
fn one(seed: u64) -> ExitCode {
    let (first, second) = (sim::run(seed), sim::run(seed));
    match &first {
        Ok(outcome) => println!("seed {seed}: {outcome:?}"),
        Err(failure) => println!("{failure}"),
    }
    if first != second {
        println!("seed {seed}: the second run ended otherwise: {second:?}");
    }
    if first.is_ok() && first == second { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures, and prints what it found
fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        return one(seed);
    }
    let start = Instant::now();
    let (mut failed, mut sum) = (0_u64, sim::Outcome::default());
    for seed in args.from..args.from.saturating_add(args.seeds) {
        match sim::run(seed) {
            Ok(outcome) => {
                sum.digest ^= outcome.digest;
                sum.readings += outcome.readings;
                sum.lost += outcome.lost;
                sum.crashes += outcome.crashes;
                sum.timely_alarms += outcome.timely_alarms;
            }
            Err(failure) if args.all => {
                failed += 1;
                println!("seed {seed}: {}: {}", failure.broken.invariant, failure.broken.what);
            }
            Err(failure) => {
                println!("{failure}\nagain: cargo run --release -p benches --bin sim -- --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
        let done = seed - args.from + 1;
        if done.is_multiple_of(PROGRESS) || done == args.seeds {
            let rate = done as f64 / start.elapsed().as_secs_f64();
            println!("{done} seeds, {failed} failed, {rate:.0} seeds/s");
        }
    }
    println!(
        "{} readings pooled, {} told as lost, {} crashes, {} alarms timed; digest {:08x}",
        sum.readings, sum.lost, sum.crashes, sum.timely_alarms, sum.digest
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
