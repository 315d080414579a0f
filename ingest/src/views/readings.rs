//! The readings of one sensor: from Parquet, and those that are not there yet.

use std::sync::Arc;

use wire::{GatewayId, Quality, QuantityCode, SensorName};

use super::lists::parse_sensor;
use super::memory::MAX_GROUPS;
use super::{ReadingView, ReadingsView, ViewError};
use crate::columns::{FileError, MAX_DAYS, PoolFolder, ReadingFilter};
use crate::engine::Engine;
use crate::pool::rows::Row;
use crate::pool::{Span, State};

/// Most readings in an answer.
pub const MAX_READINGS: usize = 10_000;
/// Most rows that one question looks at: two milliseconds of the apply thread at most.
const ROWS_A_QUESTION: usize = 250_000;
/// How often a question begins again because what it was looking at has gone to files. That takes seconds, a
/// question milliseconds.
const ATTEMPTS: usize = 3;

/// A reading: when, what, how far to trust it.
pub(super) type Taken = (i64, Option<f64>, Quality);

/// Keeps the newest readings.
pub(super) struct Newest {
    limit: usize,
    readings: Vec<Taken>,
    truncated: bool,
}

impl Newest {
    pub(super) fn of(limit: usize) -> Self {
        Self { limit, readings: Vec::new(), truncated: false }
    }

    pub(super) fn add(&mut self, reading: Taken) {
        self.readings.push(reading);
        if self.readings.len() >= 4 * self.limit + 64 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.readings.sort_by_key(|reading| reading.0);
        let surplus = self.readings.len().saturating_sub(self.limit);
        self.truncated |= surplus > 0;
        self.readings.drain(..surplus);
    }

    /// Oldest first, and whether there were more.
    pub(super) fn done(mut self) -> (Vec<Taken>, bool) {
        self.cut();
        (self.readings, self.truncated)
    }
}

/// A sensor and what the state has of its readings in a span of time.
pub(super) struct Recent {
    sensor: u32,
    pub(super) quantity: QuantityCode,
    from_ms: i64,
    to_ms: i64,
    districts: Vec<String>,
    /// Files up to this position are needed too.
    checkpoint: u64,
    readings: Vec<Taken>,
    /// Rows that are looked at elsewhere, from a place on.
    spans: Vec<(Arc<Span>, usize)>,
    /// Where the span begins whose rows are looked at here.
    span_from: u64,
    /// How many of its rows were looked at, and how many there were at the first question.
    seen: usize,
    rows: usize,
}

impl Recent {
    fn begin(
        state: &State,
        gateway: &GatewayId,
        name: &SensorName,
        from_ms: i64,
        to_ms: i64,
    ) -> Option<Self> {
        let number = state.sensors.find(gateway, name)?;
        let sensor = state.sensors.get(number)?;
        let waiting = state.waiting_readings(sensor.gateway, sensor.name);
        let mut recent = Self {
            sensor: number,
            quantity: sensor.quantity,
            from_ms,
            to_ms,
            districts: state.sensors.districts_of(&sensor),
            checkpoint: state.checkpoint,
            readings: waiting.into_iter().filter(|reading| (from_ms..to_ms).contains(&reading.0)).collect(),
            spans: state.in_flight.iter().map(|span| (Arc::clone(span), 0)).collect(),
            span_from: state.current.from,
            seen: 0,
            rows: state.current.rows.len(),
        };
        recent.go_on(state);
        Some(recent)
    }

    /// Looks at more rows; false when they are in files by now.
    fn go_on(&mut self, state: &State) -> bool {
        if state.current.from == self.span_from {
            let end = self.rows.min(self.seen + ROWS_A_QUESTION);
            self.look_at(state.current.rows.as_slice().get(self.seen..end).unwrap_or_default());
            self.seen = end;
            return true;
        }
        let Some(span) = state.in_flight.as_ref().filter(|span| span.from == self.span_from) else {
            return false;
        };
        self.spans.push((Arc::clone(span), self.seen));
        self.seen = self.rows;
        true
    }

    fn look_at(&mut self, rows: &[Row]) {
        let Self { sensor, from_ms, to_ms, .. } = *self;
        let wanted = |row: &&Row| row.sensor == sensor && (from_ms..to_ms).contains(&row.at_ms);
        let quality =
            |row: &Row| Quality::ALL.get(usize::from(row.quality)).copied().unwrap_or(Quality::Fault);
        self.readings.extend(rows.iter().filter(wanted).map(|row| (row.at_ms, row.value(), quality(row))));
    }

    /// Hands all readings to `visit`, those of one source in the order of their times. Returns whether it gave up
    /// before the oldest.
    fn each(mut self, folder: &PoolFolder, mut visit: impl FnMut(Taken)) -> Result<bool, FileError> {
        for (span, seen) in std::mem::take(&mut self.spans) {
            self.look_at(span.rows.as_slice().get(seen..).unwrap_or_default());
        }
        self.readings.into_iter().for_each(&mut visit);
        let filter = ReadingFilter { sensor: self.sensor, from_ms: self.from_ms, to_ms: self.to_ms };
        let mut groups = 0;
        for district in &self.districts {
            let files =
                folder.reading_files(Some(district), filter.from_ms, filter.to_ms, self.checkpoint)?;
            for file in files.iter().rev() {
                if groups >= MAX_GROUPS {
                    return Ok(true);
                }
                groups += folder.read_readings(file, &filter, |at_ms, value, quality| {
                    visit((at_ms, value, quality));
                })?;
            }
        }
        Ok(false)
    }
}

/// Finds a sensor and what memory has of it in `from_ms..to_ms`.
///
/// # Errors
/// [`ViewError`].
pub(super) async fn find(engine: &Engine, id: &str, from_ms: i64, to_ms: i64) -> Result<Recent, ViewError> {
    let not_found = || ViewError::NotFound { what: "sensor", id: id.to_owned() };
    let (gateway, name) = parse_sensor(id).ok_or_else(not_found)?;
    let bad = |detail: String| Err(ViewError::BadQuery { field: "from", detail });
    if from_ms >= to_ms {
        return bad(format!("from {from_ms} is not before to {to_ms}"));
    }
    if (to_ms.saturating_sub(from_ms)) / 86_400_000 > MAX_DAYS {
        return bad(format!("from and to are more than {MAX_DAYS} days apart"));
    }
    'again: for _ in 0..ATTEMPTS {
        let (gateway, name) = (gateway.clone(), name.clone());
        let begin = move |state: &State| Recent::begin(state, &gateway, &name, from_ms, to_ms);
        let mut recent = engine.ask(begin).await?.ok_or_else(not_found)?;
        while recent.seen < recent.rows {
            let go_on = move |state: &State| recent.go_on(state).then_some(recent);
            match engine.ask(go_on).await? {
                Some(more) => recent = more,
                None => continue 'again,
            }
        }
        return Ok(recent);
    }
    Err(ViewError::Storage("readings go to files faster than they can be looked at: ask again".into()))
}

/// Folds all readings of a sensor; also tells whether it gave up before the oldest.
///
/// # Errors
/// [`ViewError`].
pub(super) async fn fold<T: Send + 'static>(
    engine: &Engine,
    recent: Recent,
    mut into: T,
    mut add: impl FnMut(&mut T, Taken) + Send + 'static,
) -> Result<(T, bool), ViewError> {
    let folder = engine.folder().clone();
    let fold = move || {
        let gave_up = recent.each(&folder, |reading| add(&mut into, reading))?;
        Ok((into, gave_up))
    };
    engine.read(fold).await
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
    let recent = find(engine, id, from_ms, to_ms).await?;
    let quantity = engine.config().catalogue.get(recent.quantity);
    let unit = quantity.map(|quantity| quantity.unit.clone()).unwrap_or_default();
    let newest = Newest::of(limit.clamp(1, MAX_READINGS));
    let (newest, gave_up) = fold(engine, recent, newest, Newest::add).await?;
    let (readings, is_cut) = newest.done();
    let view = |(at_ms, value, quality): Taken| ReadingView { at_ms, value, quality: quality.as_str() };
    Ok(ReadingsView {
        id: id.to_owned(),
        unit,
        from_ms,
        to_ms,
        readings: readings.into_iter().map(view).collect(),
        truncated: is_cut || gave_up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::{T0, readings as frame, rules};

    /// 40 frames of three readings each of sensors s0, s1, s2, a minute apart.
    fn state() -> State {
        let mut state = State::new(rules());
        for sequence in 1..=40 {
            let at_ms = T0 + sequence as i64 * 60_000;
            state.apply_frame(&frame("g", sequence, at_ms, &[1.0, 2.0, 3.0]), at_ms);
        }
        state
    }

    fn begin(state: &State) -> Recent {
        let (gateway, name) = (GatewayId::new("g").unwrap(), SensorName::new("s1").unwrap());
        Recent::begin(state, &gateway, &name, T0, T0 + 86_400_000).unwrap()
    }

    /// Takes a question back to its first `seen` rows, as if no more had fitted.
    fn stopped_at(seen: usize, state: &State) -> Recent {
        let mut recent = begin(state);
        let readings = state.current.rows.as_slice()[..seen].iter().filter(|row| row.sensor == 1).count();
        recent.readings.truncate(readings);
        Recent { seen, ..recent }
    }

    fn count(recent: Recent) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let mut count = 0;
        recent.each(&PoolFolder::open(folder.path()).unwrap(), |_| count += 1).unwrap();
        count
    }

    #[test]
    fn a_question_goes_on_where_it_stopped_while_rows_come_and_go() {
        let mut state = state();
        assert_eq!(count(begin(&state)), 40, "in one question");
        let mut here = stopped_at(50, &state);
        assert!(here.go_on(&state));
        assert_eq!(count(here), 40, "in two");
        let [mut cut, mut gone] = [70, 90].map(|seen| stopped_at(seen, &state));
        state.position = 5_000;
        state.cut();
        let late = frame("g", 41, T0 + 3_600_000, &[9.0, 9.0, 9.0]);
        state.apply_frame(&late, T0 + 3_600_000);
        assert!(cut.go_on(&state));
        assert_eq!(count(cut), 40, "the rest was in flight by then");
        state.written(state.position, 1, T0 + 3_600_000);
        assert!(!gone.go_on(&state), "the rest is in files by then");
    }

    #[test]
    fn the_newest_readings_stay() {
        let mut newest = Newest::of(10);
        for at_ms in (0..1_000).rev() {
            newest.add((at_ms, None, Quality::Good));
            assert!(newest.readings.len() < 4 * 10 + 64);
        }
        let (readings, is_cut) = newest.done();
        assert_eq!(
            readings.iter().map(|reading| reading.0).collect::<Vec<_>>(),
            (990..1_000).collect::<Vec<_>>()
        );
        assert!(is_cut);
    }
}
