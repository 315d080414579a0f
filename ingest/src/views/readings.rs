//! The readings of one sensor: from Parquet, and those that are not there yet.

use wire::Quality;

use super::lists::parse_sensor;
use super::{ReadingView, ReadingsView, ViewError};
use crate::columns::{FileError, MAX_DAYS, ReadingFilter, read_readings};
use crate::engine::Engine;
use crate::pool::{Row, State};

/// Most readings in an answer.
pub const MAX_READINGS: usize = 10_000;

/// Keeps the newest readings.
struct Newest {
    limit: usize,
    readings: Vec<ReadingView>,
    truncated: bool,
}

impl Newest {
    fn add(&mut self, at_ms: i64, value: Option<f64>, quality: Quality) {
        self.readings.push(ReadingView { at_ms, value, quality: quality.as_str() });
        if self.readings.len() >= 4 * self.limit + 64 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.readings.sort_by_key(|reading| reading.at_ms);
        let surplus = self.readings.len().saturating_sub(self.limit);
        self.truncated |= surplus > 0;
        self.readings.drain(..surplus);
    }
}

/// What the state contributes.
struct Recent {
    sensor: u32,
    unit: String,
    districts: Vec<String>,
    checkpoint: u64,
    readings: Vec<(i64, Option<f64>, Quality)>,
}

fn recent(state: &State, sensor: u32, from_ms: i64, to_ms: i64) -> Option<Recent> {
    let row = state.sensors.get(sensor)?;
    let wanted = |row: &&Row| row.sensor == sensor && (from_ms..to_ms).contains(&row.at_ms);
    let in_flight = state.in_flight.iter().flat_map(|span| span.rows.iter());
    let rows = in_flight.chain(&state.current.rows).filter(wanted);
    let waiting = state.waiting_readings(row.gateway, row.name);
    let quality = |row: &Row| Quality::ALL.get(usize::from(row.quality)).copied().unwrap_or(Quality::Fault);
    Some(Recent {
        sensor,
        unit: state.rules.catalogue.get(row.quantity).map(|q| q.unit.clone()).unwrap_or_default(),
        districts: state.sensors.districts_of(&row),
        checkpoint: state.checkpoint,
        readings: (rows.map(|row| (row.at_ms, row.value, quality(row))))
            .chain(waiting.into_iter().filter(|reading| (from_ms..to_ms).contains(&reading.0)))
            .collect(),
    })
}

/// Readings of a sensor in `from_ms..to_ms`; the newest `limit` of them when there are more.
///
/// # Errors
/// [`ViewError`].
pub async fn readings(
    engine: &Engine,
    id: &str,
    from_ms: i64,
    to_ms: i64,
    limit: usize,
) -> Result<ReadingsView, ViewError> {
    let not_found = || ViewError::NotFound { what: "sensor", id: id.to_owned() };
    let (gateway, name) = parse_sensor(id).ok_or_else(not_found)?;
    if from_ms >= to_ms {
        let detail = format!("from {from_ms} is not before to {to_ms}");
        return Err(ViewError::BadQuery { field: "from", detail });
    }
    if (to_ms.saturating_sub(from_ms)) / 86_400_000 > MAX_DAYS {
        let detail = format!("from and to are more than {MAX_DAYS} days apart");
        return Err(ViewError::BadQuery { field: "from", detail });
    }
    let recent = engine
        .ask(move |state| {
            let number = state.sensors.find(&gateway, &name)?;
            recent(state, number, from_ms, to_ms)
        })
        .await?
        .ok_or_else(not_found)?;
    let limit = limit.clamp(1, MAX_READINGS);
    let folder = engine.folder().clone();
    let Recent { sensor, unit, districts, checkpoint, readings } = recent;
    let mut newest = engine
        .read(move || -> Result<Newest, FileError> {
            let mut newest = Newest { limit, readings: Vec::new(), truncated: false };
            for (at_ms, value, quality) in readings {
                newest.add(at_ms, value, quality);
            }
            let filter = ReadingFilter { sensor, from_ms, to_ms };
            for district in &districts {
                for file in folder.reading_files(Some(district), from_ms, to_ms, checkpoint)? {
                    read_readings(&file, &filter, |at_ms, value, quality| {
                        newest.add(at_ms, value, quality);
                    })?;
                }
            }
            Ok(newest)
        })
        .await?;
    newest.cut();
    let Newest { readings, truncated, .. } = newest;
    Ok(ReadingsView { id: id.to_owned(), unit, from_ms, to_ms, readings, truncated })
}
