//! A gateway and an ingest, both whole, over real sockets: what the edge promises when things around it go wrong.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // tests drive

mod clocks;
mod refusal;
mod vocabulary;
mod world;
