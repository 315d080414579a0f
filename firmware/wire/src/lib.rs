//! What travels between a gateway and ingest, and nothing else.
//!
//! A [`Frame`] is packed once on the box. The same bytes lie in the gateway's buffer, cross MQTT and are
//! appended to ingest's log. `no_std` with `alloc`; the `zstd` feature adds the codec the product uses.
//!
//! # Layout
//! - [`ids`]: names of gateways, sensors, quantities and areas, valid by construction
//! - [`lane`]: the five lanes and their order
//! - [`place`]: a point on the ground, its datum and its area
//! - [`time`]: boot, monotonic time and what the box knows of the wall clock
//! - [`reading`]: quality, readings and the series they belong to
//! - [`alarm`]: what the edge alarm engine says
//! - [`status`]: a gateway about itself: announcement, health, losses
//! - [`frame`]: the envelope: header, codec, checksum; see there for every byte
//! - [`columns`]: readings as columns, inside a frame
//! - `transposed`: the same with the series as columns too: what is written today
//! - [`sealed`]: what smart seals send: envelopes, photographs
//! - [`receipt`]: ingest's word that a frame is durable, or refused
//! - [`topic`]: the MQTT topic tree, both directions
//!
//! # Promise
//! The bytes of a version never change: `tests/golden` freezes them. A new layout is a new kind of payload, or a new
//! version, beside it; ingest learns it before the gateways do, and quarantines what it does not know yet.
//! Decoding bytes from outside never panics, and never takes more memory than [`frame::MAX_RAW_BYTES`] times
//! a small constant.
#![no_std]

extern crate alloc;

pub mod alarm;
#[cfg(feature = "zstd")]
mod codec_zstd;
pub mod columns;
pub mod frame;
pub mod ids;
pub mod lane;
pub mod place;
pub mod reading;
pub mod receipt;
pub mod sealed;
pub mod status;
pub mod time;
pub mod topic;
mod transposed;

pub use alarm::{AlarmEvent, AlarmKind, Alarms, Input, Level, Measure};
pub use frame::{Codec, DecodeError, EncodeError, Frame, Header, Payload};
pub use ids::{Area, GatewayId, NameError, QuantityCode, SensorName};
pub use lane::Lane;
pub use place::{Datum, Place, PlaceError};
pub use reading::{Batch, Quality, Reading, Series};
pub use receipt::{Receipt, Verdict};
pub use sealed::{Envelopes, PicturePart};
pub use status::{Announcement, Health, Loss, LossReason, Losses, SensorInfo};
pub use time::{BootId, Clock, ClockState};
