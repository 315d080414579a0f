//! Smart seals: no grant, no stamp.
//!
//! What an authority signs, what a seal checks before it moves, and what it signs afterwards. Nothing here does IO or reads
//! a clock: the same code runs in a lock's microcontroller, in a gateway, at the authority and at whoever checks them.
//! `no_std` with `alloc`.
//!
//! # Layout
//! - [`keys`]: keys, signatures, digests; `sm`: those of SM2 and SM3, by the feature `sm`; [`envelope`]: signed bytes
//!   (COSE_Sign, RFC 9052); `form`: what CBOR is read; `datum`: places
//! - [`grant`]: what may be stamped; [`receipt`]: what was; [`talk`]: what a seal and the authority ask and answer
//! - [`policy`]: who issues, who approves what, who watches; [`delegation`]: who approves in whose place; [`notice`]: what
//!   else the authority has done
//! - [`tree`]: Merkle proofs (RFC 9162); [`note`]: checkpoints of a log and their cosignatures; [`proof`]: that a grant was
//!   logged, for use without a network
//! - [`trust`]: whom a seal believes; `quorum`: how many people have approved; [`memory`]: what it remembers; [`decision`]: whether it may move; [`refusal`]: why not
//! - [`stamping`]: the steps of one use, and what is journaled before which
//!
//! # Promise
//! What is malformed, not in its one deterministic form (RFC 8949 §4.2.1), too large, or in any way in doubt is refused with
//! a reason. Reading never panics, and takes no more memory than a small multiple of the input, whose size is bounded.
//! Bytes of a version never change once a seal carries it: `tests/golden.rs` holds them. No seal carries version 1 yet.
#![no_std]

extern crate alloc;

mod datum;
pub mod decision;
pub mod delegation;
pub mod envelope;
mod form;
pub mod grant;
pub mod keys;
pub mod memory;
pub mod note;
pub mod notice;
pub mod policy;
pub mod proof;
mod quorum;
pub mod receipt;
pub mod refusal;
#[cfg(feature = "sm")]
mod sm;
pub mod stamping;
pub mod talk;
pub mod tree;
pub mod trust;

#[cfg(test)]
mod tests;

/// The same stories, told with SM2 keys.
#[cfg(test)]
#[cfg(feature = "sm")]
#[expect(
    clippy::duplicate_mod,
    reason = "the name of the module is what says the algorithm: see tests::authority"
)]
#[path = "tests/mod.rs"]
mod tests_by_sm2;
