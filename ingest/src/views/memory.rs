//! Windows for an answer: from memory when it has them all, else from files and what is not there yet.
//!
//! The apply thread takes nothing in while it answers. So a question only copies what is wanted there, at most
//! [`MAX_HOT`] packed windows and [`Part::MOST`] others, and everything is unpacked and folded elsewhere. For more there
//! are more questions, each about a part of the time or of the cells; what is too much even so is read from files, as is
//! what memory does not reach.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::ViewError;
use crate::cell::Cell;
use crate::columns::{FileError, PoolFolder, WindowFilter};
use crate::engine::Engine;
use crate::pool::aggregate::Aggregate;
use crate::pool::hot::Hot;
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
    /// What merging all others into `first` gives.
    fn of_parts(first: &Self, others: &[(WindowKey, Self)]) -> Self
    where
        Self: Sized;
}

impl Part for Aggregate {
    const MOST: usize = 8_192;

    fn of(window: &Aggregate) -> Self {
        window.clone()
    }

    fn merge(&mut self, other: &Self) {
        Aggregate::merge(self, other);
    }

    fn of_parts(first: &Self, others: &[(WindowKey, Self)]) -> Self {
        Aggregate::of_parts(first, others.iter().map(|(_, part)| part))
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
    /// Which share of the cells.
    pub(super) share: Share,
}

/// One of several parts of all cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    number: u64,
    of: u64,
}

impl Share {
    /// All cells.
    pub(super) const ALL: Self = Self { number: 0, of: 1 };

    fn holds(self, cell: Cell) -> bool {
        cell.bits() % self.of == self.number
    }

    /// The same cells in so many shares.
    fn split(self, pieces: u64) -> impl Iterator<Item = Self> {
        (0..pieces).map(move |piece| Self { number: self.number + piece * self.of, of: self.of * pieces })
    }
}

impl Wanted {
    /// The wanted ones of these, each under the coarser key it belongs to, with its own start.
    fn of<W>(
        self,
        windows: impl Iterator<Item = (WindowKey, W)>,
    ) -> impl Iterator<Item = (WindowKey, i64, W)> {
        let Self { quantity, filter, window_ms, share, .. } = self;
        let reach = filter.reach();
        // Cheapest first: nearly all windows fail one of these.
        let near = move |key: &WindowKey| {
            let cell = key.cell.parent(filter.precision);
            key.quantity == quantity
                && (filter.from_ms..filter.to_ms).contains(&key.start_ms)
                && reach.contains(&cell)
                && share.holds(cell)
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
    /// Ask for these one by one instead.
    Pieces(Vec<Wanted>),
}

/// All windows of a stretch of time, as they were at one moment.
struct Stretch<P> {
    wanted: Wanted,
    /// Those in memory that are packed, with the start that each was packed with.
    packed: Vec<(WindowKey, i64, Packed)>,
    /// Those of readings that wait for their file.
    parts: Vec<(WindowKey, P)>,
    /// Its windows belong to them.
    in_flight: Option<Arc<Span>>,
    /// Files of windows up to this position belong to them; `None` when memory is enough.
    windows_kept: Option<u64>,
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

/// Runs on the apply thread. `room` is how many more questions there may be; without, files are the way out of too
/// many windows.
fn take<'a, P: Part>(state: &'a State, mut wanted: Wanted, room: usize) -> Taken<P> {
    let (filter, window_ms) = (&mut wanted.filter, wanted.window_ms);
    if wanted.only_newest {
        // Those that are in memory as a whole are enough, if the last that began is.
        let whole_ms = state.hot_from_ms.saturating_add(window_ms - 1).div_euclid(window_ms) * window_ms;
        if whole_ms <= filter.from_ms + window_ms {
            filter.from_ms = filter.from_ms.max(whole_ms);
        }
    }
    let WindowFilter { from_ms, to_ms, .. } = wanted.filter;
    let mut is_covered = from_ms >= state.hot_from_ms;
    if !is_covered && room > 1 && !wanted.only_newest {
        // The newest files are the smallest and the most, and memory has what is in them.
        let hot_from_ms = state.hot_from_ms.saturating_add(BASE_MS - 1).div_euclid(BASE_MS) * BASE_MS;
        if hot_from_ms < wanted.filter.to_ms {
            let [old, new] = [
                WindowFilter { to_ms: hot_from_ms, ..wanted.filter },
                WindowFilter { from_ms: hot_from_ms, ..wanted.filter },
            ];
            return Taken::Pieces([old, new].map(|filter| Wanted { filter, ..wanted }).to_vec());
        }
    }
    let windows_of = |table: &'a Hot| {
        let windows = wanted.of(table.of(wanted.quantity, from_ms, to_ms));
        windows.map(|(key, start_ms, part)| (key, start_ms, part.clone()))
    };
    let (mut packed, mut parts) = (Vec::new(), Vec::new());
    let mut count = copy(state.unfiled().flat_map(windows_of), &mut packed, MAX_HOT);
    let (unfiled, mut truncated) = (packed.len(), count > MAX_HOT);
    if is_covered {
        count += copy(state.filed().flat_map(windows_of), &mut packed, MAX_HOT);
    }
    if count > MAX_HOT {
        if room > 1 {
            return Taken::Pieces(split(wanted, count, MAX_HOT, room));
        }
        is_covered = false;
        packed.truncate(unfiled);
    }
    let current = wanted.of(state.current.windows.iter().map(|(key, window)| (*key, window)));
    truncated |= copy(current.map(|(key, _, window)| (key, P::of(window))), &mut parts, P::MOST) > P::MOST;
    Taken::Windows(Stretch {
        wanted,
        packed,
        parts,
        in_flight: state.in_flight.clone(),
        windows_kept: (!is_covered).then_some(state.windows_kept),
        truncated,
    })
}

/// Cuts a question into pieces with about `most` of its `count` windows each, and no more than `room` pieces: by time,
/// or by cells where it is about one minute.
fn split(wanted: Wanted, count: usize, most: usize, room: usize) -> Vec<Wanted> {
    let WindowFilter { from_ms, to_ms, .. } = wanted.filter;
    let wanted = Wanted { only_newest: false, ..wanted };
    // Some minutes are fuller than others.
    let pieces = (count / most + 2).min(room).max(1) as u64;
    let minutes = ((to_ms - from_ms) / BASE_MS).max(1) as u64;
    if minutes == 1 {
        return wanted.share.split(pieces).map(|share| Wanted { share, ..wanted }).collect();
    }
    let step_ms = minutes.div_ceil(pieces) as i64 * BASE_MS;
    let starts = (0..).map(|piece| from_ms + piece * step_ms).take_while(|start| *start < to_ms);
    starts
        .map(|start| Wanted {
            filter: WindowFilter { from_ms: start, to_ms: (start + step_ms).min(to_ms), ..wanted.filter },
            ..wanted
        })
        .collect()
}

impl<P: Part> Fold<P> {
    /// Adds parts of one window.
    fn add_alike(&mut self, same: &[(WindowKey, P)]) {
        if let [(key, first), others @ ..] = same {
            self.add(*key, P::of_parts(first, others));
        }
    }

    fn add_stretch(&mut self, stretch: Stretch<P>, folder: &PoolFolder) -> Result<(), FileError> {
        let Stretch { wanted, mut packed, mut parts, in_flight, windows_kept, truncated } = stretch;
        self.truncated |= truncated;
        // All parts of a window at once: adding sensors one part after the other costs far more.
        packed.sort_by_key(|part| part.0);
        for same in packed.chunk_by(|a, b| a.0 == b.0) {
            let unpacked = same.iter().map(|(key, start_ms, part)| (*key, P::of(&part.unpack(*start_ms))));
            self.add_alike(&unpacked.collect::<Vec<_>>());
        }
        if let Some(span) = in_flight {
            let windows = wanted.of(span.windows.iter().map(|(key, window)| (*key, window)));
            parts.extend(windows.map(|(key, _, part)| (key, P::of(part))));
        }
        parts.sort_by_key(|part| part.0);
        parts.chunk_by(|a, b| a.0 == b.0).for_each(|same| self.add_alike(same));
        let Some(windows_kept) = windows_kept else { return Ok(()) };
        let filter = wanted.filter;
        for file in folder.window_files(filter.from_ms, filter.to_ms, windows_kept)?.iter().rev() {
            if self.groups >= MAX_GROUPS {
                self.truncated = true;
                break;
            }
            self.groups += folder.read_windows(file, &filter, |key, part| {
                if wanted.share.holds(key.cell) {
                    self.add(key.coarser(filter.precision, wanted.window_ms), P::of(&part));
                }
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
        match engine.ask(move |state| take::<P>(state, piece, room)).await? {
            Taken::Windows(stretch) => stretches.push(stretch),
            Taken::Pieces(parts) => pieces.extend(parts),
        }
    }
    let needs_files = stretches.iter().any(|stretch| stretch.windows_kept.is_some());
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
    use crate::columns::{self, write_windows};
    use crate::pool::Settled;
    use crate::pool::tests::{T0, coarser, readings, rules};

    fn wanted(minutes: i64) -> Wanted {
        let filter = WindowFilter {
            quantity: Some(1),
            precision: 6,
            from_ms: 7 * BASE_MS,
            to_ms: (7 + minutes) * BASE_MS,
            bbox: None,
        };
        Wanted { quantity: 1, filter, window_ms: BASE_MS, only_newest: true, share: Share::ALL }
    }

    #[test]
    fn pieces_are_whole_minutes_and_leave_nothing_out() {
        for (minutes, count, room, pieces) in
            [(60, 9_000, 31, 3), (60, 400_000, 31, 30), (2, 1_000_000, 31, 2), (7, 9_000, 2, 2)]
        {
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
    fn one_minute_is_split_by_cells_each_in_one_share() {
        let shares = split(wanted(1), 20_000, 8_192, 31);
        assert_eq!(shares.len(), 4);
        let again = shares.iter().flat_map(|share| split(*share, 9_000, 8_192, 31));
        for shares in [shares.clone(), again.collect()] {
            for bits in 0..100 {
                let holds = |wanted: &&Wanted| wanted.share.holds(Cell::from_bits(bits, 6));
                assert_eq!(shares.iter().filter(holds).count(), 1, "{bits} of {}", shares.len());
            }
        }
    }

    #[test]
    fn memory_answers_what_it_has_and_files_the_rest() {
        let mut state = State::new(rules());
        for sequence in 1..=10 {
            let at_ms = T0 + sequence as i64 * BASE_MS;
            state.apply_frame(&readings("g", sequence, at_ms, &[1.0, 2.0, 3.0]), at_ms);
        }
        let now_ms = T0 + state.rules.hot_ms + 5 * BASE_MS + 1;
        state.position = 500;
        state.cut();
        state.written(500, 1, now_ms);
        state.settle();
        state.note_filed(1);
        state.cut();
        state.written(500, 1, now_ms);
        let hot_from = T0 + 6 * BASE_MS;
        assert_eq!(state.hot_from_ms, hot_from - BASE_MS + 1, "the minute that was cut is not whole");
        let wanted = |from_ms, to_ms| Wanted {
            filter: WindowFilter { from_ms, to_ms, ..wanted(1).filter },
            only_newest: false,
            ..wanted(1)
        };
        let ask = |wanted, room| match take::<Aggregate>(&state, wanted, room) {
            Taken::Windows(stretch) => Ok((stretch.packed.len(), stretch.windows_kept)),
            Taken::Pieces(pieces) => {
                Err(pieces.iter().map(|p| (p.filter.from_ms, p.filter.to_ms)).collect::<Vec<_>>())
            }
        };
        let end = T0 + 20 * BASE_MS;
        assert_eq!(ask(wanted(hot_from, end), 9), Ok((15, None)), "five minutes of three places");
        assert_eq!(ask(wanted(T0, end), 9), Err(vec![(T0, hot_from), (hot_from, end)]));
        assert_eq!(ask(wanted(T0, hot_from), 9), Ok((0, Some(500))));
        assert_eq!(ask(wanted(T0, end), 1), Ok((0, Some(500))), "no more questions: all from files");
    }

    /// What a question gives, as [`windows`] asks it.
    fn answer(
        state: &State,
        folder: &PoolFolder,
        wanted: Wanted,
        room: usize,
    ) -> Vec<(WindowKey, Aggregate)> {
        let (mut pieces, mut fold) = (vec![wanted], Fold::default());
        while let Some(piece) = pieces.pop() {
            match take::<Aggregate>(state, piece, room) {
                Taken::Windows(stretch) => fold.add_stretch(stretch, folder).unwrap(),
                Taken::Pieces(parts) => pieces.extend(parts),
            }
        }
        let mut windows: Vec<_> = fold.windows.into_iter().collect();
        windows.sort_by_key(|window| window.0);
        windows
    }

    #[test]
    fn each_reading_counts_once_wherever_its_window_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = PoolFolder::open(folder.path()).unwrap();
        let [mut state, mut all] = [(); 2].map(|()| State::new(rules()));
        let (hot_from, end) = (T0 + 5 * BASE_MS, T0 + 10 * BASE_MS);
        let check = |state: &State, all: &State, at: &str| {
            for (from_ms, to_ms) in [(T0, end), (T0, hot_from), (hot_from, end)] {
                for room in [1, 31] {
                    let filter = WindowFilter { from_ms, to_ms, ..wanted(1).filter };
                    let wanted = Wanted { filter, only_newest: false, ..wanted(1) };
                    let mut expected = coarser(&all.current.windows, filter.precision, BASE_MS);
                    expected.retain(|key, _| (from_ms..to_ms).contains(&key.start_ms));
                    let found = answer(state, &folder, wanted, room);
                    assert_eq!(found, Vec::from_iter(expected), "{at}, {from_ms}..{to_ms}, room for {room}");
                }
            }
        };
        let hand_over = |state: &mut State, all: &State| {
            let Settled { from, to, windows, .. } = state.settle().unwrap();
            check(state, all, "settled");
            write_windows(&folder, columns::Stretch { from, to }, &windows).unwrap();
            check(state, all, "in a file that nobody knows of");
            state.note_filed(1);
        };
        for round in 1..=7 {
            for minute in 0..10 {
                let at_ms = T0 + minute * BASE_MS;
                let frame = readings("g", round * 10 + minute as u64, at_ms, &[1.0, 2.0, 3.0]);
                for state in [&mut state, &mut all] {
                    state.apply_frame(&frame, at_ms);
                }
            }
            state.position = round * 100;
            check(&state, &all, "current");
            if round % 3 == 1 && round > 1 {
                hand_over(&mut state, &all);
            }
            state.cut();
            check(&state, &all, "in flight, or in a file that does not count yet");
            if round % 3 == 2 {
                // Too late for the checkpoint of this round.
                hand_over(&mut state, &all);
            }
            state.written(state.position, 0, hot_from + state.rules.hot_ms);
            check(&state, &all, "settling, cooling and in a file, or in one that does not count yet");
            state.cool(4);
            check(&state, &all, "some of them hot");
        }
        assert!(state.filed().chain(state.unfiled()).all(|table| !table.is_empty()), "all stages were there");
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
