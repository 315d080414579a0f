//! Aggregates of cells.

use serde::Serialize;
use utoipa::ToSchema;
use wire::QuantityCode;

use super::ViewError;
use super::lists::quantity_code;
use super::memory::{self, Share, Wanted};
use crate::cell::{Bbox, PRECISIONS};
use crate::clock::now_ms;
use crate::columns::{MAX_DAYS, WindowFilter};
use crate::engine::Engine;
use crate::pool::State;
use crate::pool::aggregate::Aggregate;
use crate::pool::windows::{BASE_MS, WindowKey};

/// Most cells in an answer.
pub const MAX_CELLS: usize = 10_000;
/// Lengths of windows that may be asked for, in milliseconds: a minute, an hour, a day.
pub const WINDOWS_MS: [i64; 3] = [BASE_MS, 60 * BASE_MS, 1440 * BASE_MS];

/// Aggregates of one quantity over cells.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CellsView {
    /// The quantity's word.
    pub quantity: String,
    /// Its unit, UCUM.
    pub unit: String,
    /// Length of a window in milliseconds.
    pub window_ms: i64,
    /// Characters of a cell's geohash.
    pub precision: u8,
    /// The cells, by start and then cell.
    pub cells: Vec<CellView>,
    /// Whether cells were left out because there are more than may be sent.
    pub truncated: bool,
}

/// One window of one cell. Folded from raw sums and counts: never a mean of means.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CellView {
    /// Geohash.
    pub cell: String,
    /// West, south, east, north in degrees.
    pub bbox: [f64; 4],
    /// Start of the window.
    pub start_ms: i64,
    /// Readings in it.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
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
    /// Median, within 1 %.
    pub p50: f64,
    /// 95th percentile, within 1 %.
    pub p95: f64,
    /// How many sensors contributed.
    pub sensors: usize,
}

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

fn cell(key: &WindowKey, all: &Aggregate) -> CellView {
    CellView {
        cell: key.cell.to_string(),
        bbox: key.cell.bbox().edges(),
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
    let parts = [in_flight, state.current.windows.get(key)].into_iter().flatten().cloned();
    let packed = state.filed().chain(state.unfiled()).filter_map(|table| table.get(key));
    let mut parts = packed.chain(parts);
    let mut all = parts.next()?;
    parts.for_each(|part| all.merge(&part));
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

impl CellQuery {
    /// What is looked for: whole windows.
    ///
    /// # Errors
    /// [`ViewError::BadQuery`].
    pub(super) fn wanted(&self, quantity: QuantityCode, now_ms: i64) -> Result<Wanted, ViewError> {
        let bad = |field, detail: String| Err(ViewError::BadQuery { field, detail });
        if !PRECISIONS.contains(&self.precision) {
            return bad("precision", format!("{} is not 5, 6 or 7", self.precision));
        }
        if !WINDOWS_MS.contains(&self.window_ms) {
            return bad("window", format!("{} ms is not 1m, 1h or 1d", self.window_ms));
        }
        let window_ms = self.window_ms;
        let only_newest = self.from_ms.is_none() && self.to_ms.is_none();
        // No window begins later than a box may be ahead.
        let latest_ms = now_ms + crate::admit::MAX_AHEAD_MS;
        let to_ms = self.to_ms.unwrap_or(latest_ms).clamp(0, latest_ms);
        let from_ms = match self.from_ms {
            Some(from_ms) => from_ms.max(0),
            None if only_newest => now_ms - window_ms,
            None => to_ms - 3_600_000,
        };
        let (from_ms, to_ms) = whole(from_ms, to_ms, window_ms)?;
        let bbox = self.bbox.map(Bbox::from);
        let filter =
            WindowFilter { quantity: Some(quantity.0), precision: self.precision, from_ms, to_ms, bbox };
        Ok(Wanted { quantity: quantity.0, filter, window_ms, only_newest, share: Share::ALL })
    }
}

/// The span in whole windows: from the first moment of the first to the last moment of the last.
///
/// # Errors
/// [`ViewError::BadQuery`] when it is empty or too long.
pub(super) fn whole(from_ms: i64, to_ms: i64, window_ms: i64) -> Result<(i64, i64), ViewError> {
    let bad = |detail: String| Err(ViewError::BadQuery { field: "from", detail });
    let from_ms = from_ms.div_euclid(window_ms) * window_ms;
    let to_ms = (to_ms + window_ms - 1).div_euclid(window_ms) * window_ms;
    if from_ms >= to_ms {
        return bad(format!("from {from_ms} is not before to {to_ms}"));
    }
    if (to_ms - from_ms) / 86_400_000 > MAX_DAYS {
        return bad(format!("from and to are more than {MAX_DAYS} days apart"));
    }
    Ok((from_ms, to_ms))
}

/// Aggregates of one quantity over cells. Without a span: the newest window of each cell, within the last
/// two windows of the asked length.
///
/// # Errors
/// [`ViewError`].
pub async fn cells(engine: &Engine, query: CellQuery) -> Result<CellsView, ViewError> {
    let code = quantity_code(engine, &query.quantity)?;
    let fold = memory::windows::<Aggregate>(engine, query.wanted(code, now_ms())?).await?;
    let truncated = fold.truncated;
    let mut windows: Vec<(WindowKey, Aggregate)> = fold.windows.into_iter().collect();
    windows.sort_by_key(|(key, _)| (key.start_ms, key.cell));
    let left_out = windows.len().saturating_sub(MAX_CELLS);
    let unit = engine.config().catalogue.get(code).map(|quantity| quantity.unit.clone());
    Ok(CellsView {
        quantity: query.quantity,
        unit: unit.unwrap_or_default(),
        window_ms: query.window_ms,
        precision: query.precision,
        // The newest stay.
        cells: windows[left_out..].iter().map(|(key, all)| cell(key, all)).collect(),
        truncated: truncated || left_out > 0,
    })
}
