//! Remembers what was sent and compares it, reading by reading, with what the API gives back.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use wire::{DecodeError, Frame, GatewayId, Payload};

use crate::http;

/// Readings by sensor name: time in milliseconds since 1970 UTC, value as JSON prints it.
type Sent = BTreeMap<String, Vec<(i64, Option<f64>)>>;

/// Everything one gateway sent.
#[derive(Debug, Default, Clone)]
pub struct Witness {
    sent: Sent,
}

impl Witness {
    /// Remembers the readings of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not a sound frame.
    pub fn saw(&mut self, frame: &[u8]) -> Result<(), DecodeError> {
        if let Payload::Readings(batch) = Frame::decode(frame)?.payload {
            for reading in &batch.readings {
                if let Some(series) = batch.series.get(usize::from(reading.series)) {
                    let at_ms = batch.clock.wall_ms(reading.mono_ms);
                    self.sent.entry(series.sensor.to_string()).or_default().push((at_ms, reading.value));
                }
            }
        }
        Ok(())
    }

    /// Readings remembered.
    pub fn readings(&self) -> usize {
        self.sent.values().map(Vec::len).sum()
    }

    /// What differs from ingest's answers, in words; empty when all is there exactly once.
    ///
    /// # Errors
    /// Of HTTP.
    pub fn compare(&self, server: SocketAddr, gateway: &GatewayId) -> io::Result<Vec<String>> {
        let mut differences = Vec::new();
        let known = http::get_items(server, &format!("/api/v1/sensors?gateway={gateway}"))?;
        if known.len() != self.sent.len() {
            differences.push(format!("{} sensors sent, {} known", self.sent.len(), known.len()));
        }
        for (sensor, sent) in &self.sent {
            let mut sent = sent.clone();
            sent.sort_by(compare_readings);
            let (Some(first), Some(last)) = (sent.first(), sent.last()) else { continue };
            let mut found = Vec::with_capacity(sent.len());
            readings(server, &format!("{gateway}:{sensor}"), first.0, last.0 + 1, &mut found)?;
            found.sort_by(compare_readings);
            if found != sent {
                let (have, want) = (found.len(), sent.len());
                let odd = sent.iter().zip(&found).find(|(a, b)| a != b);
                differences
                    .push(format!("{sensor}: {want} readings sent, {have} found; first difference {odd:?}"));
            }
        }
        Ok(differences)
    }
}

fn compare_readings(a: &(i64, Option<f64>), b: &(i64, Option<f64>)) -> std::cmp::Ordering {
    a.0.cmp(&b.0).then(a.1.unwrap_or(f64::NEG_INFINITY).total_cmp(&b.1.unwrap_or(f64::NEG_INFINITY)))
}

/// Readings of `from_ms..to_ms`, halving the span whenever the API says that it left some out.
fn readings(
    server: SocketAddr,
    id: &str,
    from_ms: i64,
    to_ms: i64,
    out: &mut Vec<(i64, Option<f64>)>,
) -> io::Result<()> {
    let path = format!("/api/v1/sensors/{}/readings?from={from_ms}&to={to_ms}&limit=1000", http::escape(id));
    let page = http::get_json(server, &path)?;
    if page["truncated"] == true && to_ms - from_ms > 1 {
        let middle = from_ms + (to_ms - from_ms) / 2;
        readings(server, id, from_ms, middle, out)?;
        return readings(server, id, middle, to_ms, out);
    }
    for reading in page["readings"].as_array().into_iter().flatten() {
        let at_ms = reading["at_ms"].as_i64().ok_or_else(|| io::Error::other("a reading without at_ms"))?;
        // Half-open, whatever the API makes of its end.
        if (from_ms..to_ms).contains(&at_ms) {
            out.push((at_ms, reading["value"].as_f64()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::city::{Gateway, Habits};

    #[test]
    fn every_reading_of_a_frame_is_remembered() {
        let mut gateway = Gateway::new("w", 0, 8, 1, 1_000_000, Habits::default()).unwrap();
        let mut witness = Witness::default();
        for _ in 0..3 {
            witness.saw(&gateway.frame(50, wire::Codec::Lz4).unwrap().1).unwrap();
        }
        assert_eq!((witness.readings(), witness.sent.len()), (150, 8));
        assert!(witness.saw(b"not a frame").is_err());
    }
}
