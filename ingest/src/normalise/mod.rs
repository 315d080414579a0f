//! One datum and one unit per quantity, whatever came in. Pure.
//!
//! # Layout
//! - [`datum`]: coordinates to WGS-84
//! - [`units`]: values to the canonical UCUM unit of their quantity

pub mod datum;
pub mod units;

pub use datum::{to_wgs84, wgs84_e7};
pub use units::convert;
