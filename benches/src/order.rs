//! In which order a backlog came in after ingest had been away: alarms must overtake.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use ingest::pool::apply::kind;
use wire::{Frame, Header, Lane, Payload};

use crate::segments;

/// Readings that may be in the log before a waiting alarm: those that were in flight beside it in the same moment,
/// for they are committed in whatever order they are decoded.
const IN_FLIGHT: usize = 16;

/// What was seen of the order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AlarmOrder {
    /// Gateways that had alarms waiting.
    pub gateways: usize,
    /// Alarm frames that waited.
    pub alarms: usize,
    /// Frames of readings that waited.
    pub readings: usize,
    /// Most frames of readings of one gateway that came before its last waiting alarm.
    pub before_last_alarm: usize,
}

impl AlarmOrder {
    /// Whether every waiting alarm came before the backlog of its gateway.
    pub fn is_alarms_first(&self) -> bool {
        self.alarms > 0 && self.before_last_alarm <= IN_FLIGHT
    }
}

impl fmt::Display for AlarmOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} alarm frames and {} frames of readings had waited on {} gateways; at most {} frames of readings came before a waiting alarm",
            self.alarms, self.readings, self.gateways, self.before_last_alarm
        )
    }
}

/// Wall time in milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods)] // for the programs that drive
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Position after the last record of a stopped ingest's log.
///
/// # Errors
/// Of the file system.
pub fn end_of_log(folder: &Path) -> anyhow::Result<u64> {
    let segments = segments::list(folder)?;
    let Some((base, path)) = segments.last() else { return Ok(0) };
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(segments::read(*base, &bytes, |_| {}))
}

/// The order of everything that `gateways` took before `up_ms` and that came in after position `from`.
///
/// # Errors
/// Of the file system.
pub fn of_alarms(folder: &Path, gateways: &[String], from: u64, up_ms: i64) -> anyhow::Result<AlarmOrder> {
    // By gateway: lanes of waiting frames in the order of the log.
    let mut waited: BTreeMap<String, Vec<Lane>> = BTreeMap::new();
    for (base, path) in segments::list(folder)? {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        segments::read(base, &bytes, |record| {
            if record.position < from || record.kind != kind::FRAME {
                return;
            }
            let Ok(header) = Header::peek(record.payload) else { return };
            if !gateways.iter().any(|name| name == header.gateway.as_str()) {
                return;
            }
            let Ok(frame) = header.unpack(record.payload) else { return };
            if newest_ms(&frame).is_some_and(|at_ms| at_ms < up_ms) {
                waited.entry(header.gateway.to_string()).or_default().push(header.lane);
            }
        });
    }
    Ok(judge(waited.values().map(Vec::as_slice)))
}

fn judge<'l>(gateways: impl Iterator<Item = &'l [Lane]>) -> AlarmOrder {
    let mut order = AlarmOrder::default();
    for lanes in gateways {
        let count = |part: &[Lane], lane| part.iter().filter(|&&l| l == lane).count();
        order.readings += count(lanes, Lane::Reading);
        if let Some(last) = lanes.iter().rposition(|&lane| lane == Lane::Alarm) {
            order.gateways += 1;
            order.alarms += count(lanes, Lane::Alarm);
            order.before_last_alarm = order.before_last_alarm.max(count(&lanes[..last], Lane::Reading));
        }
    }
    order
}

/// When the newest item of a frame was taken, in milliseconds since 1970 UTC.
fn newest_ms(frame: &Frame) -> Option<i64> {
    match &frame.payload {
        Payload::Readings(batch) => {
            batch.readings.iter().map(|reading| reading.mono_ms).max().map(|mono| batch.clock.wall_ms(mono))
        }
        Payload::Alarms(alarms) => {
            alarms.events.iter().map(|event| event.mono_ms).max().map(|mono| alarms.clock.wall_ms(mono))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_before_the_last_alarm_are_counted_per_gateway() {
        let (a, r) = (Lane::Alarm, Lane::Reading);
        let order = judge([[a, r, a, r, r].as_slice(), [r, r, r].as_slice()].into_iter());
        assert_eq!(order, AlarmOrder { gateways: 1, alarms: 2, readings: 6, before_last_alarm: 1 });
        assert!(order.is_alarms_first());
        let late: Vec<Lane> = std::iter::repeat_n(r, IN_FLIGHT + 1).chain([a]).collect();
        assert!(!judge([late.as_slice()].into_iter()).is_alarms_first());
        assert!(!judge(std::iter::empty()).is_alarms_first(), "no alarm proves nothing");
    }
}
