//! Aggregates of cells: from memory when the span is recent, else folded from Parquet partials and what is not yet
//! there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use wire::QuantityCode;

use super::lists::quantity_code;
use super::{CellView, CellsView, ViewError};
use crate::cell::{Bbox, Cell, PRECISIONS};
use crate::clock::now_ms;
use crate::columns::{MAX_DAYS, WindowFilter, read_windows};
use crate::engine::Engine;
use crate::pool::State;
use crate::pool::aggregate::Aggregate;
use crate::pool::windows::{BASE_MS, WindowKey};

/// Most cells in an answer.
pub const MAX_CELLS: usize = 10_000;
/// Most windows held while an answer is folded.
const MAX_FOLD: usize = 200_000;
/// Lengths of windows that may be asked for, in milliseconds: a minute, an hour, a day.
pub const WINDOWS_MS: [i64; 3] = [BASE_MS, 60 * BASE_MS, 1440 * BASE_MS];

/// Which aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct CellQuery {
    /// The quantity's word.
    pub quantity: String,
    /// Length of the windows in milliseconds: one of [`WINDOWS_MS`].
    pub window_ms: i64,
    /// Windows that begin from here on. Without `from_ms` and `to_ms`: the newest window of each cell.
    pub from_ms: Option<i64>,
    /// Windows that begin before here.
    pub to_ms: Option<i64>,
    /// Characters of the cells: 5, 6 or 7.
    pub precision: u8,
    /// Cells that touch this rectangle: west, south, east, north in degrees.
    pub bbox: Option<[f64; 4]>,
}

/// Windows while they are folded.
#[derive(Default)]
struct Fold {
    windows: HashMap<WindowKey, Aggregate, RandomState>,
    truncated: bool,
}

impl Fold {
    fn add(&mut self, key: WindowKey, part: &Aggregate) {
        let room = self.windows.len() < MAX_FOLD;
        match self.windows.entry(key) {
            Entry::Occupied(mut entry) => entry.get_mut().merge(part),
            Entry::Vacant(entry) if room => {
                entry.insert(part.clone());
            }
            Entry::Vacant(_) => self.truncated = true,
        }
    }

    fn add_all<'a>(
        &mut self,
        windows: impl Iterator<Item = &'a (WindowKey, Aggregate)>,
        wanted: &WindowFilter,
        window_ms: i64,
    ) {
        for (key, part) in windows {
            let coarser = key.coarser(wanted.precision, window_ms);
            // The rectangle is held against the cell that is asked for: a coarse cell is never shown in part.
            if wanted.wants(&WindowKey { start_ms: key.start_ms, ..coarser }) {
                self.add(coarser, part);
            }
        }
    }

    /// Keeps the newest window of each cell.
    fn newest(&mut self) {
        let mut newest: HashMap<Cell, i64> = HashMap::new();
        for key in self.windows.keys() {
            let start = newest.entry(key.cell).or_insert(key.start_ms);
            *start = (*start).max(key.start_ms);
        }
        self.windows.retain(|key, _| newest.get(&key.cell) == Some(&key.start_ms));
    }
}

/// What the state contributes to an answer.
struct Recent {
    fold: Fold,
    /// Files up to this position are needed too; `None` when memory is enough.
    checkpoint: Option<u64>,
}

fn cell(key: &WindowKey, all: &Aggregate) -> CellView {
    let bbox = key.cell.bbox();
    CellView {
        cell: key.cell.to_string(),
        bbox: [bbox.west, bbox.south, bbox.east, bbox.north],
        start_ms: key.start_ms,
        count: all.count,
        sum: all.sum(),
        mean: all.mean(),
        min: all.min,
        max: all.max,
        first: all.first.value,
        last: all.last.value,
        p50: all.quantile(0.5),
        p95: all.quantile(0.95),
        sensors: all.sensors.len(),
    }
}

/// Everything in memory of one window of the base grain.
fn in_memory(state: &State, key: &WindowKey) -> Option<Aggregate> {
    let in_flight = state.in_flight.as_ref().and_then(|span| span.windows.get(key));
    let parts = [state.hot.get(key), in_flight, state.current.windows.get(key)];
    let mut parts = parts.into_iter().flatten();
    let mut all = parts.next()?.clone();
    parts.for_each(|part| all.merge(part));
    Some(all)
}

/// Cells of the base grain that changed, as events carry them.
pub(crate) fn changed_cells(
    state: &State,
    quantity: u16,
    precision: u8,
    keys: &[WindowKey],
) -> Option<CellsView> {
    let known = state.rules.catalogue.get(QuantityCode(quantity))?;
    // A late reading of long ago changes a window that is not in memory as a whole: not news for a live map.
    let whole = keys.iter().filter(|key| key.start_ms >= state.hot_from_ms);
    let cells: Vec<CellView> =
        whole.filter_map(|key| in_memory(state, key).map(|all| cell(key, &all))).collect();
    (!cells.is_empty()).then(|| CellsView {
        quantity: known.name.clone(),
        unit: known.unit.clone(),
        window_ms: BASE_MS,
        precision,
        cells,
        truncated: false,
    })
}

/// The newest window of each cell, of those that are in memory as a whole. A day is longer than what is in memory: the
/// newest one is folded from files.
fn newest(state: &State, wanted: WindowFilter, window_ms: i64) -> Recent {
    let whole_ms = state.hot_from_ms.saturating_add(window_ms - 1).div_euclid(window_ms) * window_ms;
    let wanted = WindowFilter { from_ms: whole_ms, ..wanted };
    let mut fold = Fold::default();
    hot(state, &wanted, window_ms, &mut fold);
    pending(state, &wanted, window_ms, &mut fold);
    fold.newest();
    Recent { fold, checkpoint: None }
}

fn range(state: &State, wanted: &WindowFilter, window_ms: i64) -> Recent {
    let mut fold = Fold::default();
    let covered = wanted.from_ms >= state.hot_from_ms;
    if covered {
        hot(state, wanted, window_ms, &mut fold);
    }
    pending(state, wanted, window_ms, &mut fold);
    Recent { fold, checkpoint: (!covered).then_some(state.checkpoint) }
}

fn hot(state: &State, wanted: &WindowFilter, window_ms: i64, fold: &mut Fold) {
    if let Some(quantity) = wanted.quantity {
        fold.add_all(state.hot.of(quantity), wanted, window_ms);
    }
}

/// What is not in files yet.
fn pending(state: &State, wanted: &WindowFilter, window_ms: i64, fold: &mut Fold) {
    if let Some(span) = &state.in_flight {
        fold.add_all(span.windows.iter(), wanted, window_ms);
    }
    fold.add_all(state.current.windows.iter(), wanted, window_ms);
}

/// Aggregates of one quantity over cells. Without a span: the newest window of each cell, within the last
/// two windows of the asked length.
///
/// # Errors
/// [`ViewError`].
pub async fn cells(engine: &Engine, query: CellQuery) -> Result<CellsView, ViewError> {
    let now_ms = now_ms();
    let code = quantity_code(engine, &query.quantity)?;
    let bad = |field, detail: String| Err(ViewError::BadQuery { field, detail });
    if !PRECISIONS.contains(&query.precision) {
        return bad("precision", format!("{} is not 5, 6 or 7", query.precision));
    }
    if !WINDOWS_MS.contains(&query.window_ms) {
        return bad("window", format!("{} ms is not 1m, 1h or 1d", query.window_ms));
    }
    let window_ms = query.window_ms;
    let only_newest = query.from_ms.is_none() && query.to_ms.is_none();
    // No window begins later than a box may be ahead.
    let latest_ms = now_ms + crate::admit::MAX_AHEAD_MS;
    let to_ms = query.to_ms.unwrap_or(latest_ms).clamp(0, latest_ms);
    let from_ms = match query.from_ms {
        Some(from_ms) => from_ms.max(0),
        None if only_newest => now_ms - window_ms,
        None => to_ms - 3_600_000,
    };
    // Whole windows: the first minute of the first, the last minute of the last.
    let from_ms = from_ms.div_euclid(window_ms) * window_ms;
    let to_ms = (to_ms + window_ms - 1).div_euclid(window_ms) * window_ms;
    if from_ms >= to_ms {
        return bad("from", format!("from {from_ms} is not before to {to_ms}"));
    }
    if (to_ms - from_ms) / 86_400_000 > MAX_DAYS {
        return bad("from", format!("from and to are more than {MAX_DAYS} days apart"));
    }
    let quantity = Some(code.0);
    let bbox = query.bbox.map(|[west, south, east, north]| Bbox { west, south, east, north });
    let wanted = WindowFilter { quantity, precision: query.precision, from_ms, to_ms, bbox };
    let in_memory = only_newest && window_ms <= engine.config().hot_ms / 2;
    let Recent { mut fold, checkpoint } = engine
        .ask(
            move |state| {
                if in_memory { newest(state, wanted, window_ms) } else { range(state, &wanted, window_ms) }
            },
        )
        .await?;
    if let Some(checkpoint) = checkpoint {
        let folder = engine.folder().clone();
        fold = engine
            .read(move || {
                for file in folder.window_files(from_ms, to_ms, checkpoint)? {
                    read_windows(&file, &wanted, |key, part| {
                        fold.add(key.coarser(wanted.precision, window_ms), &part);
                    })?;
                }
                Ok(fold)
            })
            .await?;
    }
    if only_newest {
        fold.newest();
    }
    let mut windows: Vec<(WindowKey, Aggregate)> = fold.windows.into_iter().collect();
    windows.sort_by_key(|(key, _)| (key.start_ms, key.cell));
    let left_out = windows.len().saturating_sub(MAX_CELLS);
    let unit = engine.config().catalogue.get(code).map(|quantity| quantity.unit.clone());
    Ok(CellsView {
        quantity: query.quantity,
        unit: unit.unwrap_or_default(),
        window_ms,
        precision: query.precision,
        // The newest stay.
        cells: windows[left_out..].iter().map(|(key, all)| cell(key, all)).collect(),
        truncated: fold.truncated || left_out > 0,
    })
}
