//! The cells where a quantity is largest.

use std::cmp::Ordering;

use serde::Serialize;
use utoipa::ToSchema;

use super::lists::quantity_code;
use super::memory::{self, Part};
use super::{CellQuery, ViewError};
use crate::clock::now_ms;
use crate::engine::Engine;
use crate::pool::aggregate::{Aggregate, End};
use crate::pool::windows::WindowKey;

/// Most cells in an answer.
pub const MAX_TOP: usize = 1_000;

/// Where a quantity is largest.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TopView {
    /// The quantity's word.
    pub quantity: String,
    /// Its unit, UCUM.
    pub unit: String,
    /// What decided: `last`, `mean` or `max`.
    pub by: &'static str,
    /// Length of a window in milliseconds.
    pub window_ms: i64,
    /// Characters of a cell's geohash.
    pub precision: u8,
    /// The cells, the largest first.
    pub cells: Vec<TopCellView>,
    /// Whether not all windows could be compared.
    pub truncated: bool,
}

/// A cell where a quantity is large.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TopCellView {
    /// Geohash.
    pub cell: String,
    /// West, south, east, north in degrees.
    pub bbox: [f64; 4],
    /// Start of the window.
    pub start_ms: i64,
    /// Readings in it.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The latest.
    pub last: f64,
    /// When that was taken.
    pub last_ms: i64,
}

/// Which number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The latest reading.
    Last,
    /// The mean of the window.
    Mean,
    /// The largest reading.
    Max,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Last, Self::Mean, Self::Max];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Mean => "mean",
            Self::Max => "max",
        }
    }

    /// Reads what [`By::as_str`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// The numbers of a window, without its sensors and its distribution: copied without a thought.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    count: u64,
    sum_micro: i128,
    min: f64,
    max: f64,
    last: End,
}

impl Part for Numbers {
    const MOST: usize = 65_536;

    fn of(window: &Aggregate) -> Self {
        let &Aggregate { count, sum_micro, min, max, last, .. } = window;
        Self { count, sum_micro, min, max, last }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_micro += other.sum_micro;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last.order(&self.last).is_gt() {
            self.last = other.last;
        }
    }

    fn of_parts(first: &Self, others: &[(WindowKey, Self)]) -> Self {
        let mut all = *first;
        others.iter().for_each(|(_, part)| all.merge(part));
        all
    }
}

impl Numbers {
    fn mean(&self) -> f64 {
        self.sum_micro as f64 / 1e6 / self.count as f64
    }

    fn by(&self, by: By) -> f64 {
        match by {
            By::Last => self.last.value,
            By::Mean => self.mean(),
            By::Max => self.max,
        }
    }
}

/// The `limit` largest, the largest first; of equal ones the newer window, then the cell decides.
fn largest(
    windows: impl Iterator<Item = (WindowKey, Numbers)>,
    by: By,
    limit: usize,
) -> Vec<(WindowKey, Numbers)> {
    let order = |(a_key, a): &(WindowKey, Numbers), (b_key, b): &(WindowKey, Numbers)| -> Ordering {
        let keys = || (b_key.start_ms, a_key.cell).cmp(&(a_key.start_ms, b_key.cell));
        b.by(by).total_cmp(&a.by(by)).then_with(keys)
    };
    let mut windows: Vec<_> = windows.collect();
    if windows.len() > limit {
        windows.select_nth_unstable_by(limit, order);
        windows.truncate(limit);
    }
    windows.sort_by(order);
    windows
}

/// The windows of `query` in which its quantity is largest, `limit` of them; without a span of the newest window of
/// each cell.
///
/// # Errors
/// [`ViewError`].
pub async fn top(engine: &Engine, query: CellQuery, by: By, limit: usize) -> Result<TopView, ViewError> {
    let code = quantity_code(engine, &query.quantity)?;
    let fold = memory::windows::<Numbers>(engine, query.wanted(code, now_ms())?).await?;
    let truncated = fold.truncated;
    let windows = largest(fold.windows.into_iter(), by, limit.clamp(1, MAX_TOP));
    let unit = engine.config().catalogue.get(code).map(|quantity| quantity.unit.clone());
    let view = |(key, numbers): &(WindowKey, Numbers)| TopCellView {
        cell: key.cell.to_string(),
        bbox: key.cell.bbox().edges(),
        start_ms: key.start_ms,
        count: numbers.count,
        mean: numbers.mean(),
        min: numbers.min,
        max: numbers.max,
        last: numbers.last.value,
        last_ms: numbers.last.at_ms,
    };
    Ok(TopView {
        quantity: query.quantity,
        unit: unit.unwrap_or_default(),
        by: by.as_str(),
        window_ms: query.window_ms,
        precision: query.precision,
        cells: windows.iter().map(view).collect(),
        truncated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;

    fn window(cell: &str, minute: i64, values: &[f64]) -> (WindowKey, Numbers) {
        let key = WindowKey { quantity: 1, cell: Cell::parse(cell).unwrap(), start_ms: minute * 60_000 };
        let parts =
            values.iter().zip(0..).map(|(value, at_ms)| Numbers::of(&Aggregate::of(at_ms, 1, *value)));
        let all = parts.reduce(|mut all, part| {
            all.merge(&part);
            all
        });
        (key, all.unwrap())
    }

    #[test]
    fn numbers_merge_as_windows_do() {
        let values = [3.0, -7.5, 0.25, 0.25];
        let whole = values.iter().zip(0..).map(|(value, at_ms)| Aggregate::of(at_ms, 1, *value));
        let whole = whole.reduce(|mut all, part| {
            all.merge(&part);
            all
        });
        let (whole, (_, all)) = (whole.unwrap(), window("wm3yr", 0, &values));
        assert_eq!(
            (all.count, all.mean(), all.min, all.max, all.last),
            (whole.count, whole.mean(), whole.min, whole.max, whole.last)
        );
    }

    #[test]
    fn the_largest_come_first() {
        let windows = [
            window("wm3y0", 1, &[5.0, 1.0]),
            window("wm3y1", 1, &[2.0, 2.5]),
            window("wm3y2", 2, &[-4.0]),
            window("wm3y3", 2, &[5.0, 1.0]),
        ];
        for (by, limit, cells) in [
            (By::Last, 9, vec!["wm3y1", "wm3y3", "wm3y0", "wm3y2"]),
            (By::Mean, 2, vec!["wm3y3", "wm3y0"]),
            (By::Max, 3, vec!["wm3y3", "wm3y0", "wm3y1"]),
        ] {
            let found = largest(windows.into_iter(), by, limit);
            let found: Vec<String> = found.iter().map(|(key, _)| key.cell.to_string()).collect();
            assert_eq!(found, cells, "{by:?} {limit}");
        }
    }
}
