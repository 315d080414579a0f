//! Third-party devices enter here: SenML packs (RFC 8428), JSON or CBOR, and the mapping files that say what
//! their names mean.
//!
//! A pack becomes records ([`json`], [`cbor`]), records are resolved as RFC 8428 §4.6 says ([`record`]), and a
//! mapping file of the source ([`mapping`]) turns each into a reading of a known quantity, in its canonical
//! unit, at a place with a datum. What cannot be turned is refused with a reason its sender can act on; one bad
//! record never takes the good ones of its pack with it.
//!
//! Everything here is pure: the time of receipt is an argument, and no input makes it panic.

pub mod cbor;
pub mod json;
pub mod mapping;
pub mod record;

use configs::Catalogue;
use wire::{GatewayId, Place, QuantityCode, SensorName};

pub use mapping::Mappings;

/// Largest pack in bytes: a day of hourly readings of ten sensors fits several times.
pub const MAX_BODY: usize = 64 * 1024;
/// Most records in a pack.
pub const MAX_RECORDS: usize = 1000;

/// How a pack is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SenmlFormat {
    /// `application/senml+json`
    Json,
    /// `application/senml+cbor`
    Cbor,
}

impl SenmlFormat {
    /// The format of a body whose sender did not say: JSON packs start with `[` after white space, and no CBOR
    /// array of records does (0x5b would be a byte string).
    pub fn guess(body: &[u8]) -> Self {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => SenmlFormat::Json,
            _ => SenmlFormat::Cbor,
        }
    }

    /// The media type of RFC 8428 §12.3.
    pub fn media_type(self) -> &'static str {
        match self {
            SenmlFormat::Json => "application/senml+json",
            SenmlFormat::Cbor => "application/senml+cbor",
        }
    }
}

/// One record that became a reading.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedReading {
    /// Its sensor, unique within the source.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Where, in the datum of the mapping file.
    pub place: Place,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The value in the canonical unit of the quantity.
    pub value: f64,
    /// Whether the sender gave an absolute time: false means it was counted from the time of receipt, so that the
    /// same pack received again is another measurement.
    pub timed: bool,
}

/// What became of a pack.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapped {
    /// The records that became readings, in their order.
    pub readings: Vec<MappedReading>,
    /// The records that did not: position in the pack from 0, and why. A pack that cannot be read at all has
    /// one entry for record 0 and no readings.
    pub refused: Vec<(usize, String)>,
}

impl Mappings {
    /// Reads a pack of `source` received at `received_ms` and gives its records their meaning.
    pub fn map(
        &self,
        source: &GatewayId,
        format: SenmlFormat,
        body: &[u8],
        received_ms: i64,
        catalogue: &Catalogue,
    ) -> Mapped {
        let refuse_all = |reason: String| Mapped { readings: Vec::new(), refused: vec![(0, reason)] };
        let Some(mapping) = self.get(source) else {
            return refuse_all(format!(
                "no mapping for source {source:?}: expected one of {}; add configs/senml/{source}.toml and restart",
                self.names(),
                source = source.as_str()
            ));
        };
        if body.len() > MAX_BODY {
            return refuse_all(format!(
                "the pack has {} bytes, at most {MAX_BODY} are accepted: split it",
                body.len()
            ));
        }
        let raw = match format {
            SenmlFormat::Json => json::parse(body),
            SenmlFormat::Cbor => cbor::parse(body),
        };
        let raw = match raw {
            Ok(raw) => raw,
            Err(error) => return refuse_all(error.to_string()),
        };
        let resolved = match record::resolve(raw, received_ms) {
            Ok(resolved) => resolved,
            Err(error) => return refuse_all(error.to_string()),
        };
        let mut mapped = Mapped::default();
        for (index, record) in resolved {
            match record.and_then(|record| mapping.reading(&record, catalogue)) {
                Ok(reading) => mapped.readings.push(reading),
                Err(reason) => mapped.refused.push((index, reason)),
            }
        }
        mapped
    }
}

#[cfg(test)]
mod tests;
