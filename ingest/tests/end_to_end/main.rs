//! Ingest from end to end: real sockets, real files, nothing replaced. One binary, because linking it costs more
//! than running it.

// The tests drive clocks and may fail loudly.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::large_futures, unreachable_pub)]

mod authenticator;
mod clocks;
mod command;
mod events;
mod external;
mod frames;
mod interface;
mod people;
mod queries;
mod query;
mod restart;
mod schema;
mod senml;
mod versions;
mod vocabulary;
mod witness;
