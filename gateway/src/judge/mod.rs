//! Judging: how far a value may be trusted, then whether it is an alarm. Pure.
//!
//! # Layout
//! - [`quality`]: gross range, rate of change, spike, flat line, fault, silence
//! - [`rules`]: thresholds with deadband and delays; blind and seeing

pub mod quality;
pub mod rules;

pub use quality::Judge;
pub use rules::Rules;
