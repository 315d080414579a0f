//! Blind spots: cells that have sensors, and not one that is well.
//!
//! Whether a sensor is well is in the table of sensors, which belongs to the apply thread and has 22 million rows in a
//! large city. So it is gone through in slices, a question each, folded elsewhere into a [`Survey`], and that is kept
//! for a while: the table is gone through only as often as somebody asks, and never more than once in
//! [`FRESH_MS`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use serde::Serialize;
use tokio::sync::Mutex as Turn;
use utoipa::ToSchema;

use super::ViewError;
use crate::cell::{Bbox, Cell, PRECISIONS};
use crate::engine::Engine;
use crate::pool::sensors::Sight;
use crate::pool::windows::BASE_PRECISION;

/// A sensor that was read well within this is well, when nobody says otherwise, in milliseconds.
pub const PATIENCE_MS: i64 = 300_000;
/// Most blind cells in an answer.
pub const MAX_BLIND: usize = 10_000;
/// Rows of the table that one question copies: well under a millisecond of the apply thread.
const SENSORS_A_QUESTION: usize = 100_000;
/// Most cells of a survey, some 50 MB; a large city has 50,000.
const MAX_CELLS: usize = 1_000_000;
/// A survey is used again within this, in milliseconds.
const FRESH_MS: i64 = 10_000;
/// Within this it is used while the next one is made.
const STALE_MS: i64 = 60_000;

/// Cells that have sensors and none that is well.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CoverageView {
    /// When the sensors were looked at: some seconds ago in a large city.
    pub as_of_ms: i64,
    /// Characters of a cell's geohash.
    pub precision: u8,
    /// A sensor is well when its newest reading is usable and not older than this.
    pub patience_ms: i64,
    /// Sensors in all cells that were asked for.
    pub sensors: u64,
    /// Cells that have sensors.
    pub cells: usize,
    /// How many of them are blind.
    pub blind_cells: usize,
    /// The blind ones, those with most sensors first.
    pub blind: Vec<BlindCellView>,
    /// Whether cells were left out because there are too many.
    pub truncated: bool,
}

/// A cell whose sensors are all silent or faulty.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BlindCellView {
    /// Geohash.
    pub cell: String,
    /// West, south, east, north in degrees.
    pub bbox: [f64; 4],
    /// How many sensors it has.
    pub sensors: u32,
    /// The newest usable reading among the newest of its sensors; null when none of them is usable.
    pub last_ms: Option<i64>,
}

/// Which blind spots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoverageQuery {
    /// Characters of the cells: 5, 6 or 7.
    pub precision: u8,
    /// Cells that touch this rectangle: west, south, east, north in degrees.
    pub bbox: Option<[f64; 4]>,
    /// A sensor is well when its newest reading is usable and not older than this, in milliseconds.
    pub patience_ms: i64,
}

/// The sensors of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    sensors: u32,
    /// The newest reading among those that are usable and the newest of their sensor; `i64::MIN` for none.
    well_ms: i64,
}

impl Spot {
    const NONE: Self = Self { sensors: 0, well_ms: i64::MIN };

    fn add(&mut self, other: Self) {
        self.sensors = self.sensors.saturating_add(other.sensors);
        self.well_ms = self.well_ms.max(other.well_ms);
    }
}

/// All sensors by cell.
#[derive(Debug, Default)]
struct Survey {
    /// When it was begun.
    as_of_ms: i64,
    cells: HashMap<Cell, Spot, RandomState>,
    /// Whether sensors were left out for want of room.
    truncated: bool,
}

impl Survey {
    fn add(&mut self, sights: &[Sight]) {
        for sight in sights {
            let cell = Cell::at_e7(sight.lat_e7, sight.lon_e7, BASE_PRECISION);
            let spot = Spot { sensors: 1, well_ms: sight.well_ms.unwrap_or(i64::MIN) };
            let room = self.cells.len() < MAX_CELLS;
            match self.cells.entry(cell) {
                Entry::Occupied(mut all) => all.get_mut().add(spot),
                Entry::Vacant(entry) if room => drop(entry.insert(spot)),
                Entry::Vacant(_) => self.truncated = true,
            }
        }
    }

    /// The cells of a question with their sensors, in the order of their numbers.
    fn cells(&self, query: &CoverageQuery) -> Vec<(Cell, Spot)> {
        let bbox = query.bbox.map(Bbox::from);
        let mut cells: HashMap<Cell, Spot, RandomState> = HashMap::default();
        for (cell, spot) in &self.cells {
            let cell = cell.parent(query.precision);
            if bbox.is_none_or(|bbox| cell.bbox().touches(&bbox)) {
                cells.entry(cell).or_insert(Spot::NONE).add(*spot);
            }
        }
        let mut cells: Vec<(Cell, Spot)> = cells.into_iter().collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        cells
    }

    fn answer(&self, query: &CoverageQuery, now_ms: i64) -> CoverageView {
        let cells = self.cells(query);
        let from_ms = now_ms.saturating_sub(query.patience_ms);
        let mut blind: Vec<&(Cell, Spot)> = cells.iter().filter(|(_, spot)| spot.well_ms < from_ms).collect();
        // Where most sensors are silent somebody should go first.
        blind.sort_by_key(|(_, spot)| std::cmp::Reverse(spot.sensors));
        let view = |&&(cell, spot): &&(Cell, Spot)| BlindCellView {
            cell: cell.to_string(),
            bbox: cell.bbox().edges(),
            sensors: spot.sensors,
            last_ms: (spot.well_ms > i64::MIN).then_some(spot.well_ms),
        };
        CoverageView {
            as_of_ms: self.as_of_ms,
            precision: query.precision,
            patience_ms: query.patience_ms,
            sensors: cells.iter().map(|(_, spot)| u64::from(spot.sensors)).sum(),
            cells: cells.len(),
            blind_cells: blind.len(),
            blind: blind.iter().take(MAX_BLIND).map(view).collect(),
            truncated: self.truncated || blind.len() > MAX_BLIND,
        }
    }
}

/// The newest survey, shared by all who ask.
#[derive(Debug, Clone, Default)]
pub struct Surveys {
    newest: Arc<Mutex<Option<Arc<Survey>>>>,
    /// Held by whoever makes the next one.
    turn: Arc<Turn<()>>,
}

/// What to do with the newest survey.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// Good enough while the next one is made.
    Stale,
    TooOld,
}

fn age(as_of_ms: i64, now_ms: i64) -> Age {
    let age_ms = now_ms - as_of_ms;
    // A clock that was set back makes a survey of the future, which is worth nothing.
    if !(0..=STALE_MS).contains(&age_ms) {
        Age::TooOld
    } else if age_ms <= FRESH_MS {
        Age::Fresh
    } else {
        Age::Stale
    }
}

impl Surveys {
    fn newest(&self) -> Option<Arc<Survey>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A survey that is not too old.
    async fn get(&self, engine: &Engine, now_ms: i64) -> Result<Arc<Survey>, ViewError> {
        let usable = |survey: &Arc<Survey>| age(survey.as_of_ms, now_ms) != Age::TooOld;
        if let Some(newest) = self.newest().filter(usable) {
            if age(newest.as_of_ms, now_ms) == Age::Stale
                && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
            {
                let (surveys, engine) = (self.clone(), engine.clone());
                tokio::spawn(async move {
                    // The next who asks learns what is wrong.
                    let _ = surveys.renew(&engine, now_ms).await;
                    drop(turn);
                });
            }
            return Ok(newest);
        }
        let _turn = self.turn.lock().await;
        // Somebody else may have made one meanwhile.
        match self.newest().filter(usable) {
            Some(newest) => Ok(newest),
            None => self.renew(engine, now_ms).await,
        }
    }

    /// Goes through the table.
    async fn renew(&self, engine: &Engine, now_ms: i64) -> Result<Arc<Survey>, ViewError> {
        let mut survey = Survey { as_of_ms: now_ms, ..Survey::default() };
        let mut from = 0;
        loop {
            let sights = engine.ask(move |state| state.sensors.sights(from, SENSORS_A_QUESTION)).await?;
            from += sights.len() as u32;
            if sights.is_empty() {
                break;
            }
            let fold = move || {
                survey.add(&sights);
                Ok(survey)
            };
            survey = engine.work(fold).await?;
        }
        let survey = Arc::new(survey);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&survey));
        Ok(survey)
    }
}

/// Cells that have sensors and none that is well.
///
/// # Errors
/// [`ViewError`].
pub async fn coverage(
    engine: &Engine,
    surveys: &Surveys,
    query: CoverageQuery,
    now_ms: i64,
) -> Result<CoverageView, ViewError> {
    if !PRECISIONS.contains(&query.precision) {
        let detail = format!("{} is not 5, 6 or 7", query.precision);
        return Err(ViewError::BadQuery { field: "precision", detail });
    }
    let survey = surveys.get(engine, now_ms).await?;
    engine.work(move || Ok(survey.answer(&query, now_ms))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_305_600_000;

    /// A sensor at a step east of the first, read well so many seconds ago.
    fn sight(east: i32, well_s: Option<i64>) -> Sight {
        Sight {
            lat_e7: 306_600_000,
            lon_e7: 1_040_200_000 + east * 100_000,
            well_ms: well_s.map(|seconds| NOW - seconds * 1_000),
        }
    }

    fn query(precision: u8) -> CoverageQuery {
        CoverageQuery { precision, bbox: None, patience_ms: PATIENCE_MS }
    }

    #[test]
    fn a_cell_is_blind_when_none_of_its_sensors_is_well() {
        for (sights, cells, blind, story) in [
            (vec![sight(0, Some(10))], 1, 0, "one that is well"),
            (vec![sight(0, None)], 1, 1, "never read, or a fault"),
            (vec![sight(0, Some(299)), sight(0, None)], 1, 0, "one of two is enough"),
            (vec![sight(0, Some(301)), sight(0, None)], 1, 1, "too long ago"),
            (vec![sight(0, Some(10)), sight(9, None)], 2, 1, "the neighbour is another cell"),
            (vec![sight(0, Some(-60))], 1, 0, "a clock ahead"),
            (vec![], 0, 0, "no sensors, no blind spot"),
        ] {
            let mut survey = Survey::default();
            survey.add(&sights);
            let view = survey.answer(&query(7), NOW);
            assert_eq!((view.cells, view.blind_cells, view.blind.len()), (cells, blind, blind), "{story}");
            assert_eq!(view.sensors, sights.len() as u64, "{story}");
        }
    }

    #[test]
    fn coarser_cells_and_rectangles_are_of_the_same_survey() {
        let mut survey = Survey::default();
        survey.add(&[
            sight(0, None),
            sight(0, Some(400)),
            sight(9, None),
            sight(90, Some(1)),
            sight(300, None),
        ]);
        let fine = survey.answer(&query(7), NOW);
        assert_eq!((fine.cells, fine.blind_cells), (4, 3));
        assert_eq!((fine.blind[0].sensors, fine.blind[0].last_ms), (2, Some(NOW - 400_000)), "most first");
        assert_eq!(survey.answer(&query(5), NOW).sensors, 5);
        assert_eq!(survey.answer(&CoverageQuery { patience_ms: 500_000, ..query(7) }, NOW).blind_cells, 2);
        let [west, south, east, north] = fine.blind[0].bbox;
        let middle = [(west + east) / 2.0, (south + north) / 2.0, east - 1e-5, north - 1e-5];
        let one = survey.answer(&CoverageQuery { bbox: Some(middle), ..query(7) }, NOW);
        assert_eq!((one.cells, one.blind_cells, one.blind[0].sensors), (1, 1, 2));
    }

    #[test]
    fn surveys_age() {
        for (seconds, found) in [
            (0, Age::Fresh),
            (10, Age::Fresh),
            (11, Age::Stale),
            (60, Age::Stale),
            (61, Age::TooOld),
            (-1, Age::TooOld),
        ] {
            assert_eq!(age(NOW, NOW + seconds * 1_000), found, "{seconds} s");
        }
    }
}
