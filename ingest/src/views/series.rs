//! Curves: a quantity over time, of a sensor or a cell, in as many points as a chart can show.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use wire::Quality;

use super::ViewError;
use super::cells::whole;
use super::lists::quantity_code;
use super::memory::{self, Share, Wanted};
use super::readings::{self, MAX_READINGS, Newest, Taken};
use crate::cell::{Bbox, Cell, PRECISIONS};
use crate::columns::WindowFilter;
use crate::engine::Engine;
use crate::pool::aggregate::Aggregate;

/// Points that a chart can show: the step that is chosen gives no more.
pub const CHART_POINTS: i64 = 1_500;
/// Most points of a step that was asked for.
pub const MAX_POINTS: i64 = 10_000;
/// Longest span whose readings are shown one by one when no step was asked for, in milliseconds: a sensor may be read
/// once a second.
const RAW_MS: i64 = 900_000;

/// A quantity over time, of a sensor or a cell.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SeriesView {
    /// The sensor's city-wide name, or the cell.
    pub id: String,
    /// What is measured, as a word.
    pub quantity: String,
    /// Its unit, UCUM.
    pub unit: String,
    /// How far apart points are: `raw` (every reading is one), `1m`, `1h` or `1d`.
    pub step: &'static str,
    /// The same in milliseconds; 0 for `raw`.
    pub step_ms: i64,
    /// From here, inclusive: where the first step begins.
    pub from_ms: i64,
    /// To here, exclusive.
    pub to_ms: i64,
    /// Oldest first. A step without readings has no point: nothing measured is not zero.
    pub points: Vec<PointView>,
    /// Whether older readings of the span were left out.
    pub truncated: bool,
}

/// A point of a curve. Only readings that can be trusted are in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct PointView {
    /// Where its step begins; when the reading was taken, where every reading is a point.
    pub start_ms: i64,
    /// Readings in it.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The earliest.
    pub first: f64,
    /// The latest.
    pub last: f64,
    /// 95th percentile, within 1 %.
    pub p95: f64,
}

/// How far apart the points of a curve are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Every reading is a point.
    Raw,
    /// One point a minute.
    Minute,
    /// One point an hour.
    Hour,
    /// One point a day, in UTC.
    Day,
}

impl Step {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Minute, Self::Hour, Self::Day];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// Reads what [`Step::as_str`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// Its length in milliseconds; none of [`Step::Raw`].
    pub fn length_ms(self) -> Option<i64> {
        match self {
            Self::Raw => None,
            Self::Minute => Some(60_000),
            Self::Hour => Some(3_600_000),
            Self::Day => Some(86_400_000),
        }
    }

    /// The finest step that gives a chart's points of a span, from `finest` on.
    fn of_span(span_ms: i64, finest: Self) -> Self {
        let fits = |step: &Self| match step.length_ms() {
            None => span_ms <= RAW_MS,
            Some(length_ms) => span_ms / length_ms <= CHART_POINTS,
        };
        Self::ALL.into_iter().filter(|step| *step >= finest).find(fits).unwrap_or(Self::Day)
    }
}

/// Which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesQuery {
    /// From here on, in milliseconds since 1970 UTC. The first point is whole.
    pub from_ms: i64,
    /// To here, exclusive. The last point is whole as far as it has happened.
    pub to_ms: i64,
    /// How far apart the points are; chosen by the span without it.
    pub step: Option<Step>,
}

impl SeriesQuery {
    /// The step, and the span in whole steps.
    fn steps(self, finest: Step) -> Result<(Step, i64, i64), ViewError> {
        let Self { from_ms, to_ms, step } = self;
        let step = step.unwrap_or_else(|| Step::of_span(to_ms.saturating_sub(from_ms), finest));
        let (from_ms, to_ms) = whole(from_ms, to_ms, step.length_ms().unwrap_or(1))?;
        if let Some(length_ms) = step.length_ms()
            && (to_ms - from_ms) / length_ms > MAX_POINTS
        {
            let coarser = Step::of_span(to_ms - from_ms, finest).as_str();
            let detail = format!(
                "{} from {from_ms} to {to_ms} gives {} points, at most {MAX_POINTS} are shown: ask for {coarser} or for less time",
                step.as_str(),
                (to_ms - from_ms) / length_ms
            );
            return Err(ViewError::BadQuery { field: "step", detail });
        }
        Ok((step, from_ms, to_ms))
    }
}

fn point(start_ms: i64, all: &Aggregate) -> PointView {
    PointView {
        start_ms,
        count: all.count,
        mean: all.mean(),
        min: all.min,
        max: all.max,
        first: all.first.value,
        last: all.last.value,
        p95: all.quantile(0.95),
    }
}

/// The readings that enter a curve: the same that enter windows, and those of boxes that did not know the time.
fn usable((at_ms, value, quality): Taken) -> Option<(i64, f64)> {
    value.filter(|_| quality.is_usable()).map(|value| (at_ms, value))
}

/// Adds a reading of a sensor to the step it lies in.
fn add(steps: &mut BTreeMap<i64, Aggregate>, length_ms: i64, (at_ms, value): (i64, f64)) {
    let start_ms = at_ms.div_euclid(length_ms) * length_ms;
    // A curve is of one sensor: nobody asks which.
    let sensor = 0;
    match steps.get_mut(&start_ms) {
        Some(all) => all.add(at_ms, sensor, value),
        None => drop(steps.insert(start_ms, Aggregate::of(at_ms, sensor, value))),
    }
}

/// The curve of a sensor.
///
/// # Errors
/// [`ViewError`].
pub async fn series_of_sensor(
    engine: &Engine,
    id: &str,
    query: SeriesQuery,
) -> Result<SeriesView, ViewError> {
    let (step, from_ms, to_ms) = query.steps(Step::Raw)?;
    let recent = readings::find(engine, id, from_ms, to_ms).await?;
    let quantity = engine.config().catalogue.get(recent.quantity);
    let (quantity, unit) = quantity.map(|q| (q.name.clone(), q.unit.clone())).unwrap_or_default();
    let (points, truncated) = match step.length_ms() {
        None => {
            let keep = |newest: &mut Newest, reading| {
                if let Some((at_ms, value)) = usable(reading) {
                    newest.add((at_ms, Some(value), Quality::Good));
                }
            };
            let (newest, gave_up) = readings::fold(engine, recent, Newest::of(MAX_READINGS), keep).await?;
            let (readings, is_cut) = newest.done();
            let all = readings.into_iter().filter_map(usable);
            let points = all.map(|(at_ms, value)| point(at_ms, &Aggregate::of(at_ms, 0, value))).collect();
            (points, is_cut || gave_up)
        }
        Some(length_ms) => {
            let fold = move |steps: &mut BTreeMap<i64, Aggregate>, reading| {
                if let Some(reading) = usable(reading) {
                    add(steps, length_ms, reading);
                }
            };
            let (steps, gave_up) = readings::fold(engine, recent, BTreeMap::new(), fold).await?;
            (steps.iter().map(|(start_ms, all)| point(*start_ms, all)).collect(), gave_up)
        }
    };
    let step_ms = step.length_ms().unwrap_or(0);
    Ok(SeriesView {
        id: id.to_owned(),
        quantity,
        unit,
        step: step.as_str(),
        step_ms,
        from_ms,
        to_ms,
        points,
        truncated,
    })
}

/// The curve of one quantity in a cell.
///
/// # Errors
/// [`ViewError`].
pub async fn series_of_cell(
    engine: &Engine,
    id: &str,
    quantity: &str,
    query: SeriesQuery,
) -> Result<SeriesView, ViewError> {
    let cell = Cell::parse(id).filter(|cell| PRECISIONS.contains(&cell.precision()));
    let cell = cell.ok_or_else(|| ViewError::NotFound { what: "cell", id: id.to_owned() })?;
    let code = quantity_code(engine, quantity)?;
    let (step, from_ms, to_ms) = query.steps(Step::Minute)?;
    let Some(length_ms) = step.length_ms() else {
        let detail = "raw readings are of sensors: 1m, 1h or 1d expected for a cell".into();
        return Err(ViewError::BadQuery { field: "step", detail });
    };
    let filter = WindowFilter {
        quantity: Some(code.0),
        precision: cell.precision(),
        from_ms,
        to_ms,
        bbox: Some(middle(cell)),
    };
    let wanted =
        Wanted { quantity: code.0, filter, window_ms: length_ms, only_newest: false, share: Share::ALL };
    let fold = memory::windows::<Aggregate>(engine, wanted).await?;
    let mut windows: Vec<(i64, Aggregate)> =
        fold.windows.into_iter().map(|(key, all)| (key.start_ms, all)).collect();
    windows.sort_by_key(|window| window.0);
    let unit = engine.config().catalogue.get(code).map(|quantity| quantity.unit.clone());
    Ok(SeriesView {
        id: cell.to_string(),
        quantity: quantity.to_owned(),
        unit: unit.unwrap_or_default(),
        step: step.as_str(),
        step_ms: length_ms,
        from_ms,
        to_ms,
        points: windows.iter().map(|(start_ms, all)| point(*start_ms, all)).collect(),
        truncated: fold.truncated,
    })
}

/// A point that only this cell of its precision touches.
fn middle(cell: Cell) -> Bbox {
    let Bbox { west, south, east, north } = cell.bbox();
    let (lon, lat) = ((west + east) / 2.0, (south + north) / 2.0);
    Bbox { west: lon, south: lat, east: lon, north: lat }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1_440 * MINUTE;

    #[test]
    fn the_span_chooses_the_step() {
        for (span_ms, of_sensor, of_cell) in [
            (1, Step::Raw, Step::Minute),
            (15 * MINUTE, Step::Raw, Step::Minute),
            (60 * MINUTE, Step::Minute, Step::Minute),
            (DAY, Step::Minute, Step::Minute),
            (2 * DAY, Step::Hour, Step::Hour),
            (30 * DAY, Step::Hour, Step::Hour),
            (90 * DAY, Step::Day, Step::Day),
            (400 * DAY, Step::Day, Step::Day),
        ] {
            let found = [Step::Raw, Step::Minute].map(|finest| Step::of_span(span_ms, finest));
            assert_eq!(found, [of_sensor, of_cell], "{span_ms} ms");
        }
        assert!(Step::ALL.into_iter().all(|step| Step::parse(step.as_str()) == Some(step)));
    }

    #[test]
    fn points_are_whole_and_bounded() {
        let from_ms = 1_000 * DAY + 90_000;
        let ask = |span_ms, step| SeriesQuery { from_ms, to_ms: from_ms + span_ms, step }.steps(Step::Raw);
        let whole = (Step::Minute, from_ms - 30_000, from_ms + 90_000);
        assert_eq!(ask(MINUTE, Some(Step::Minute)).unwrap(), whole);
        assert_eq!(ask(MINUTE, None).unwrap(), (Step::Raw, from_ms, from_ms + MINUTE));
        assert_eq!(ask(DAY, Some(Step::Raw)).unwrap().0, Step::Raw, "the readings are bounded, not the span");
        let error = ask(30 * DAY, Some(Step::Minute)).unwrap_err().to_string();
        assert!(error.contains("1m") && error.contains("ask for 1h"), "{error}");
        assert!(ask(0, None).is_err() && ask(500 * DAY, None).is_err());
    }

    #[test]
    fn readings_fall_into_steps_and_bad_ones_into_none() {
        let mut steps = BTreeMap::new();
        for reading in [
            (-1, Some(1.0), Quality::Good),
            (0, Some(2.0), Quality::Good),
            (59_999, Some(4.0), Quality::Good),
            (30_000, Some(9_999.0), Quality::OutOfRange),
            (30_000, None, Quality::Fault),
            (60_000, Some(7.0), Quality::Good),
        ] {
            if let Some(reading) = usable(reading) {
                add(&mut steps, MINUTE, reading);
            }
        }
        let points: Vec<_> = (steps.iter().map(|(start_ms, all)| point(*start_ms, all)))
            .map(|point| (point.start_ms, point.count, point.first, point.last, point.mean, point.max))
            .collect();
        assert_eq!(
            points,
            [(-MINUTE, 1, 1.0, 1.0, 1.0, 1.0), (0, 2, 2.0, 4.0, 3.0, 4.0), (MINUTE, 1, 7.0, 7.0, 7.0, 7.0)]
        );
    }

    #[test]
    fn the_middle_touches_one_cell() {
        let cell = Cell::parse("wm3yr1").unwrap();
        let touching = Cell::cover(&middle(cell), 6, 10).unwrap();
        assert_eq!(touching, [cell]);
        let filter =
            WindowFilter { quantity: None, precision: 6, from_ms: 0, to_ms: 1, bbox: Some(middle(cell)) };
        assert_eq!(filter.reach(), cell..=cell);
    }
}
