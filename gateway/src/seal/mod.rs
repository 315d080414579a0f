//! A smart seal: what hangs on the gateway and stamps only what was granted.
//!
//! # Layout
//! - [`people`]: who somebody is who types a PIN or shows a card

pub mod people;
