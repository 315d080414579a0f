//! Configuration as data: what is measured, and how files are read.
//!
//! # Layout
//! - [`strict`]: a TOML reader that reports every mistake of a file at once, with its line
//! - [`catalogue`]: the quantities, from `configs/quantities/*.toml`
//! - [`roots`]: who decides about the rules of a seal
//! - [`gauges`]: the names in a gateway's health messages, from `configs/gauges.toml`
//!
//! The commented examples of both daemons lie beside this crate; each binary's tests load its own.

pub mod catalogue;
pub mod gauges;
pub mod roots;
pub mod strict;

pub use catalogue::{Catalogue, Hazard, Quantity};
pub use gauges::{Gauge, Gauges};
pub use strict::{Document, Problems, Section};
