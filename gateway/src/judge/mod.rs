//! Judging: how far a value may be trusted, then whether it is an alarm. Pure.
//!
//! # Layout
//! - [`quality`]: gross range, rate of change, spike, flat line, gap, stale, fault, silence
//! - [`rules`]: limits and trends, rules that confirm each other, blind and seeing, re-alarm
//! - [`phase`]: where an alarm stands: deadband, on-delay and off-delay
//! - [`trend`]: how far a value rose over a time

mod phase;
pub mod quality;
pub mod rules;
pub mod trend;

pub use quality::Judge;
pub use rules::Rules;
