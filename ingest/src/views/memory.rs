//! Windows for an answer: from memory when it has them all, else from files and what is not there yet.
//!
//! The apply thread takes nothing in while it answers. So a question only copies what is wanted there, at most
//! [`MAX_HOT`] packed windows and [`Part::MOST`] others, and everything is unpacked and folded elsewhere. For more there are more questions, each about a
//! part of the time; what is too much even so is read from files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::ViewError;
use crate::cell::Cell;
use crate::columns::{FileError, PoolFolder, WindowFilter};
use crate::engine::Engine;
use crate::pool::aggregate::Aggregate;
use crate::pool::packed::Packed;
use crate::pool::windows::{BASE_MS, WindowKey};
use crate::pool::{Span, State};

/// Most windows held while an answer is folded.
const MAX_FOLD: usize = 200_000;
/// Most row groups unpacked for one answer, some seconds of work; the newest files come first.
pub(super) const MAX_GROUPS: usize = 2_000;
/// Most packed windows that one question copies, which shares their bytes: about two milliseconds of the apply thread.
const MAX_HOT: usize = 65_536;
/// Most questions that one answer puts to memory.
const MAX_QUESTIONS: usize = 32;

/// What an answer needs of a window.
pub(super) trait Part: Send + 'static {
    /// Most of them that one question copies: about two milliseconds of the apply thread.
    const MOST: usize;
    /// Copies it.
    fn of(window: &Aggregate) -> Self;
    /// Adds all readings of another part.
    fn merge(&mut self, other: &Self);
}

impl Part for Aggregate {
    const MOST: usize = 8_192;

    fn of(window: &Aggregate) -> Self {
        window.clone()
    }

    fn merge(&mut self, other: &Self) {
        Aggregate::merge(self, other);
    }
}

/// Windows while they are folded.
pub(super) struct Fold<P> {
    pub(super) windows: HashMap<WindowKey, P, RandomState>,
    /// Whether some had no room, or were not looked for.
    pub(super) truncated: bool,
    /// Row groups unpacked for it.
    groups: usize,
}

impl<P> Default for Fold<P> {
    fn default() -> Self {
        Self { windows: HashMap::default(), truncated: false, groups: 0 }
    }
}

impl<P: Part> Fold<P> {
    fn add(&mut self, key: WindowKey, part: P) {
        let room = self.windows.len() < MAX_FOLD;
        match self.windows.entry(key) {
            Entry::Occupied(mut entry) => entry.get_mut().merge(&part),
            Entry::Vacant(entry) if room => {
                entry.insert(part);
            }
            Entry::Vacant(_) => self.truncated = true,
        }
    }

    /// Keeps the newest window of each cell.
    fn newest(&mut self) {
        let mut newest: HashMap<Cell, i64, RandomState> = HashMap::default();
        for key in self.windows.keys() {
            let start = newest.entry(key.cell).or_insert(key.start_ms);
            *start = (*start).max(key.start_ms);
        }
        self.windows.retain(|key, _| newest.get(&key.cell) == Some(&key.start_ms));
    }
}

/// Which windows, and what they become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The quantity, which there is always one of.
    pub(super) quantity: u16,
    /// What is looked for; whole windows of `window_ms`.
    pub(super) filter: WindowFilter,
    /// Length of the windows in milliseconds.
    pub(super) window_ms: i64,
    /// Only the newest window of each cell.
    pub(super) only_newest: bool,
}

impl Wanted {
    /// The wanted ones of these, each under the coarser key it belongs to, with its own start.
    fn of<W>(
        self,
        windows: impl Iterator<Item = (WindowKey, W)>,
    ) -> impl Iterator<Item = (WindowKey, i64, W)> {
        let Self { quantity, filter, window_ms, .. } = self;
        let reach = filter.reach();
        // Cheapest first: nearly all windows fail one of these.
        let near = move |key: &WindowKey| {
            key.quantity == quantity
                && (filter.from_ms..filter.to_ms).contains(&key.start_ms)
                && reach.contains(&key.cell.parent(filter.precision))
        };
        windows.filter(move |(key, _)| near(key)).filter_map(move |(key, part)| {
            let coarser = key.coarser(filter.precision, window_ms);
            // The rectangle is held against the cell that is asked for: a coarse cell is never shown in part.
            let wanted = filter.wants(&WindowKey { start_ms: key.start_ms, ..coarser });
            wanted.then_some((coarser, key.start_ms, part))
        })
    }
}

/// What one question brought.
enum Taken<P> {
    Windows(Stretch<P>),
    /// So many packed ones are wanted from `from_ms` on, more than one question copies.
    TooMany {
        from_ms: i64,
        count: usize,
    },
}

/// All windows of a stretch of time, as they were at one moment.
struct Stretch<P> {
    wanted: Wanted,
    /// From memory, packed, with the start that each was packed with.
    hot: Vec<(WindowKey, i64, Packed)>,
    /// Those that wait for their file.
    parts: Vec<(WindowKey, P)>,
    /// Its windows belong to them.
    in_flight: Option<Arc<Span>>,
    /// Files up to this position belong to them; `None` when memory is enough.
    checkpoint: Option<u64>,
    truncated: bool,
}

/// Copies as many as there is room for. Returns how many there are.
fn copy<T>(windows: impl Iterator<Item = T>, copies: &mut Vec<T>, most: usize) -> usize {
    let mut count = 0;
    for window in windows {
        count += 1;
        if copies.len() < most {
            copies.push(window);
        }
    }
    count
}

/// Runs on the apply thread. Files are the way out of too many windows when the time cannot be split.
fn take<P: Part>(state: &State, mut wanted: Wanted, may_split: bool) -> Taken<P> {
    let (filter, window_ms) = (&mut wanted.filter, wanted.window_ms);
    if wanted.only_newest {
        // Those that are in memory as a whole are enough, if the last that began is.
        let whole_ms = state.hot_from_ms.saturating_add(window_ms - 1).div_euclid(window_ms) * window_ms;
        if whole_ms <= filter.from_ms + window_ms {
            filter.from_ms = filter.from_ms.max(whole_ms);
        }
    }
    let WindowFilter { from_ms, to_ms, .. } = wanted.filter;
    let (mut hot, mut parts) = (Vec::new(), Vec::new());
    let mut is_covered = from_ms >= state.hot_from_ms;
    if is_covered {
        let windows = wanted.of(state.hot.of(wanted.quantity, from_ms, to_ms));
        let count =
            copy(windows.map(|(key, start_ms, part)| (key, start_ms, part.clone())), &mut hot, MAX_HOT);
        if count > MAX_HOT {
            if may_split {
                return Taken::TooMany { from_ms, count };
            }
            is_covered = false;
            hot.clear();
        }
    }
    let current = wanted.of(state.current.windows.iter().map(|(key, window)| (*key, window)));
    let truncated = copy(current.map(|(key, _, window)| (key, P::of(window))), &mut parts, P::MOST) > P::MOST;
    Taken::Windows(Stretch {
        wanted,
        hot,
        parts,
        in_flight: state.in_flight.clone(),
        checkpoint: (!is_covered).then_some(state.checkpoint),
        truncated,
    })
}

/// Cuts the time of a question into pieces with about `most` of its `count` windows each, and no more than `room`
/// pieces; one piece when its minutes are too few.
fn split(wanted: Wanted, count: usize, most: usize, room: usize) -> Vec<Wanted> {
    let WindowFilter { from_ms, to_ms, .. } = wanted.filter;
    // Some minutes are fuller than others.
    let pieces = (count / most + 2).min(room).max(1) as u64;
    let minutes = ((to_ms - from_ms) / BASE_MS).max(1) as u64;
    let step_ms = minutes.div_ceil(pieces) as i64 * BASE_MS;
    let starts = (0..).map(|piece| from_ms + piece * step_ms).take_while(|start| *start < to_ms);
    starts
        .map(|start| Wanted {
            filter: WindowFilter { from_ms: start, to_ms: (start + step_ms).min(to_ms), ..wanted.filter },
            only_newest: false,
            ..wanted
        })
        .collect()
}

impl<P: Part> Fold<P> {
    fn add_stretch(&mut self, stretch: Stretch<P>, folder: &PoolFolder) -> Result<(), FileError> {
        let Stretch { wanted, hot, parts, in_flight, checkpoint, truncated } = stretch;
        self.truncated |= truncated;
        hot.into_iter().for_each(|(key, start_ms, part)| self.add(key, P::of(&part.unpack(start_ms))));
        parts.into_iter().for_each(|(key, part)| self.add(key, part));
        if let Some(span) = in_flight {
            let windows = wanted.of(span.windows.iter().map(|(key, window)| (*key, window)));
            windows.for_each(|(key, _, part)| self.add(key, P::of(part)));
        }
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        let filter = wanted.filter;
        for file in folder.window_files(filter.from_ms, filter.to_ms, checkpoint)?.iter().rev() {
            if self.groups >= MAX_GROUPS {
                self.truncated = true;
                break;
            }
            self.groups += folder.read_windows(file, &filter, |key, part| {
                self.add(key.coarser(filter.precision, wanted.window_ms), P::of(&part));
            })?;
        }
        Ok(())
    }
}

/// The wanted windows, folded.
///
/// # Errors
/// [`ViewError`].
pub(super) async fn windows<P: Part>(engine: &Engine, wanted: Wanted) -> Result<Fold<P>, ViewError> {
    let (mut pieces, mut asked, mut stretches) = (vec![wanted], 0, Vec::new());
    // Each piece is right by itself: its windows are those of one moment, and no other piece has them.
    while let Some(piece) = pieces.pop() {
        asked += 1;
        let room = MAX_QUESTIONS.saturating_sub(asked + pieces.len());
        let may_split = room > 1 && piece.filter.to_ms - piece.filter.from_ms > BASE_MS;
        match engine.ask(move |state| take::<P>(state, piece, may_split)).await? {
            Taken::Windows(stretch) => stretches.push(stretch),
            Taken::TooMany { from_ms, count } => {
                let narrowed = Wanted { filter: WindowFilter { from_ms, ..piece.filter }, ..piece };
                pieces.extend(split(narrowed, count, MAX_HOT, room));
            }
        }
    }
    let needs_files = stretches.iter().any(|stretch| stretch.checkpoint.is_some());
    let folder = engine.folder().clone();
    let fold = move || {
        let mut fold = Fold::default();
        for stretch in stretches {
            fold.add_stretch(stretch, &folder)?;
        }
        if wanted.only_newest {
            fold.newest();
        }
        Ok(fold)
    };
    if needs_files { engine.read(fold).await } else { engine.work(fold).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(minutes: i64) -> Wanted {
        let filter = WindowFilter {
            quantity: Some(1),
            precision: 6,
            from_ms: 7 * BASE_MS,
            to_ms: (7 + minutes) * BASE_MS,
            bbox: None,
        };
        Wanted { quantity: 1, filter, window_ms: BASE_MS, only_newest: true }
    }

    #[test]
    fn pieces_are_whole_minutes_and_leave_nothing_out() {
        for (minutes, count, room, pieces) in [
            (60, 9_000, 31, 3),
            (60, 400_000, 31, 30),
            (2, 1_000_000, 31, 2),
            (7, 9_000, 2, 2),
            (1, 9_000, 31, 1),
        ] {
            let whole = wanted(minutes).filter;
            let found = split(wanted(minutes), count, 8_192, room);
            let what = format!("{count} windows in {minutes} minutes, room for {room}");
            assert_eq!(found.len(), pieces, "{what}");
            assert_eq!(found[0].filter.from_ms, whole.from_ms, "{what}");
            assert_eq!(found[pieces - 1].filter.to_ms, whole.to_ms, "{what}");
            assert!(found.windows(2).all(|pair| pair[0].filter.to_ms == pair[1].filter.from_ms), "{what}");
            assert!(found.iter().all(|piece| piece.filter.from_ms % BASE_MS == 0 && !piece.only_newest));
        }
    }

    #[test]
    fn what_has_no_room_is_told() {
        let part = Aggregate::of(1, 1, 2.0);
        let cell = Cell::parse("wm3yr00").unwrap();
        let key = |minute: i64| WindowKey { quantity: 1, cell, start_ms: minute * BASE_MS };
        let mut fold = Fold::<Aggregate>::default();
        (0..MAX_FOLD as i64).for_each(|minute| fold.add(key(minute), part.clone()));
        fold.add(key(5), part.clone());
        assert!(!fold.truncated, "it fits");
        fold.add(key(-1), part.clone());
        assert!(fold.truncated);
        assert_eq!((fold.windows.len(), fold.windows[&key(5)].count), (MAX_FOLD, 2));
        fold.newest();
        assert_eq!(fold.windows.into_keys().collect::<Vec<_>>(), [key(MAX_FOLD as i64 - 1)]);
    }

    #[test]
    fn a_question_copies_so_many_and_counts_on() {
        let mut copies = Vec::new();
        assert_eq!((copy(0..9, &mut copies, 4), copies.len()), (9, 4));
    }
}
