//! The thread that owns the state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::filer::MAX_SETTLING;
use super::keeper::{Cut, Kept, MAX_DESCRIBED, descriptions, some_changed};
use super::recover::writes_of;
use crate::clock::now_ms;
use crate::counters::Counters;
use crate::feeds::Feed;
use crate::log::{Command, Committed};
use crate::pool::apply::{Incoming, Known};
use crate::pool::hot::Hot;
use crate::pool::windows::{BASE_PRECISION, WindowKey};
use crate::pool::{Effect, Settled, State};
use crate::registry::Registry;
use crate::views;

/// Most group commits that wait to be applied. Then the log waits: what is urgent overtakes in front of the log, not
/// behind it, so this queue is short.
pub(super) const QUEUE: usize = 1;
/// Most questions that wait.
pub(super) const QUESTIONS: usize = 64;
/// How often listeners are told what changed.
const TICK: Duration = Duration::from_secs(1);
/// How many stretches' worth of readings may wait in memory while files are written, or cannot be: some 50 MB. After
/// that the log takes in what is urgent only: alarms still reach people, and gateways keep the rest for a moment.
const MAX_STRETCHES: usize = 2;
/// Sensors that the database is told of at once when it has nothing else to do, some 30 ms of work each second: a city
/// of 22 million is there within two hours.
const CHANGED: usize = 4096;
/// Most windows that are merged into the hot ones at once, some milliseconds of work. It happens each second and with each
/// file, so that a city's minute is through before the next one comes.
const COOLED: usize = 4096;
/// How long after its end most of a minute has come: gateways send every ten seconds. Windows go to Parquet after that, so
/// that most of them go in few parts.
const SETTLED_MS: i64 = 15_000;
/// Most cells in one event; the rest shows with the next reading.
const MAX_CELLS: usize = 1000;

/// A question that runs on the thread.
pub(super) type Question = Box<dyn FnOnce(&State) + Send>;

/// Whether `now_ms` lies in another turn of windows than `last_ms`. Turns begin [`SETTLED_MS`] after each multiple of
/// `every_ms`, whenever ingest was started.
fn is_turn(last_ms: i64, now_ms: i64, every_ms: i64) -> bool {
    let turn = |at_ms: i64| (at_ms - SETTLED_MS).div_euclid(every_ms.max(1));
    turn(now_ms) != turn(last_ms)
}

/// Whether so many bytes that settle are to be written. Too many are in any case: what is still cooling is then merged at
/// once.
fn are_due(is_time: bool, settling_bytes: usize, all_are_cool: bool) -> bool {
    settling_bytes > MAX_SETTLING || is_time && all_are_cool
}

/// Whether so many bytes settle that there is no room for those of another stretch: `is_writing` the last ones.
fn is_crowded(is_writing: bool, settling_bytes: usize) -> bool {
    is_writing && settling_bytes > MAX_SETTLING
}

pub(super) struct ApplyLoop {
    pub(super) state: State,
    pub(super) committed: mpsc::Receiver<Vec<Committed<Known>>>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) cuts: SyncSender<Cut>,
    pub(super) kept: mpsc::Receiver<Kept>,
    pub(super) settled: SyncSender<Settled>,
    pub(super) filed: mpsc::Receiver<u64>,
    pub(super) log: mpsc::Sender<Command<Known>>,
    /// Tells the log whether there is room for readings.
    pub(super) room: watch::Sender<bool>,
    pub(super) registry: Registry,
    pub(super) feed: Arc<Feed>,
    pub(super) counters: Arc<Counters>,
    pub(super) parquet_every_ms: i64,
    pub(super) parquet_rows: usize,
    pub(super) windows_every_ms: i64,
    /// Whether the registry, the keeper or the filer has ended.
    pub(super) is_alone: bool,
    pub(super) last_cut_ms: i64,
    pub(super) last_windows_ms: i64,
}

impl ApplyLoop {
    /// Runs until the log has ended and everything is kept.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.is_alone {
            let room = self.state.current.rows.burden() < self.parquet_rows * MAX_STRETCHES;
            self.room.send_if_modified(|before| std::mem::replace(before, room) != room);
            tokio::select! {
                biased;
                Some(question) = self.questions.recv() => self.answer(question),
                kept = self.kept.recv() => self.kept(kept),
                files = self.filed.recv() => self.filed(files),
                _ = tick.tick() => self.tick(),
                group = self.committed.recv() => match group {
                    Some(group) => self.apply(group),
                    None => break,
                },
            }
        }
        if self.is_alone {
            tracing::error!(
                "a thread behind this one has ended: ingest ends too. The log has everything for the next start"
            );
            return;
        }
        self.finish().await;
    }

    #[allow(clippy::disallowed_methods)] // the loop that drives: how long nothing is taken in
    fn answer(&self, question: Question) {
        let since = Instant::now();
        question(&self.state);
        self.counters.answered(since.elapsed());
    }

    fn apply(&mut self, group: Vec<Committed<Known>>) {
        for record in group {
            self.state.apply(Incoming {
                end: record.end,
                received_ms: record.received_ms,
                kind: record.kind,
                source: &record.source,
                payload: &record.payload,
                known: record.known,
            });
        }
        let effects = self.state.take_effects();
        self.is_alone |= self.registry.write(writes_of(&effects)).is_err();
        for effect in &effects {
            if let Effect::Alarm(alarm) = effect {
                self.publish("alarm", &views::alarm(&self.state, alarm));
            }
        }
        self.publish_counts();
        if self.state.described() >= MAX_DESCRIBED {
            self.describe();
        }
        self.cut_if_full();
    }

    fn tick(&mut self) {
        let now_ms = now_ms();
        self.publish_cells();
        for gateway in self.state.take_touched_gateways() {
            if let Some(view) = views::gateway_brief(&self.state, &gateway, now_ms) {
                self.publish("gateway", &view);
            }
        }
        if self.registry.is_idle() {
            self.is_alone |= self.registry.write(some_changed(&mut self.state, CHANGED)).is_err();
        }
        self.state.cool(COOLED);
        self.settle_if_due();
        if now_ms.saturating_sub(self.last_cut_ms) >= self.parquet_every_ms {
            self.cut();
        }
    }

    /// Hands what settles to the filer when its time has come or it is too much, and the last ones are out of the way.
    fn settle_if_due(&mut self) {
        let now_ms = now_ms();
        let is_time = is_turn(self.last_windows_ms, now_ms, self.windows_every_ms);
        if are_due(is_time, self.state.settling.bytes(), self.state.cooling.is_empty()) && self.settle() {
            self.last_windows_ms = now_ms;
        }
    }

    /// Hands what settles to the filer, unless the last ones are still on their way; whether it did.
    fn settle(&mut self) -> bool {
        let Some(settled) = self.state.settle() else { return false };
        // The last ones are through, so the queue is empty: only an ended filer refuses.
        self.is_alone |= self.settled.try_send(settled).is_err();
        true
    }

    fn cut_if_full(&mut self) {
        if self.state.current.rows.burden() >= self.parquet_rows {
            self.cut();
        }
    }

    /// Hands a stretch to the keeper, unless the last one is still there or its windows would have no room.
    fn cut(&mut self) {
        let is_writing = self.state.settled.as_ref().is_some_and(|settled| !settled.are_filed);
        if self.state.in_flight.is_some() || is_crowded(is_writing, self.state.settling.bytes()) {
            return;
        }
        self.last_cut_ms = now_ms();
        if !self.describe() {
            return;
        }
        let Some(cut) = Cut::of(&mut self.state) else { return };
        if let Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) = self.cuts.try_send(cut) {
            // One is in flight at most, and the queue holds one: only an ended keeper refuses.
            self.is_alone = true;
        }
    }

    /// Hands new descriptions to the database; false when it has ended.
    fn describe(&mut self) -> bool {
        let descriptions = descriptions(&mut self.state);
        self.is_alone |= self.registry.write(descriptions).is_err();
        !self.is_alone
    }

    /// What the keeper says; nothing when it has ended.
    fn kept(&mut self, kept: Option<Kept>) {
        let Some(Kept { position, files, needs_log_from }) = kept else {
            self.is_alone = true;
            return;
        };
        let now_ms = now_ms();
        self.state.written(position, files, now_ms);
        self.state.cool(COOLED);
        self.settle_if_due();
        self.cut_if_full();
        // Never waited for: the log may itself wait for this thread. The next checkpoint says it again.
        let _ = self.log.try_send(Command::Checkpointed { position: needs_log_from, now_ms });
        self.publish_counts();
    }

    /// What the filer says; nothing when it has ended.
    fn filed(&mut self, files: Option<u64>) {
        match files {
            Some(files) => {
                self.state.note_filed(files);
                self.cut_if_full();
            }
            None => self.is_alone = true,
        }
    }

    fn publish_counts(&self) {
        counted(&self.state, &self.counters);
    }

    fn publish(&self, kind: &'static str, view: &impl serde::Serialize) {
        match serde_json::to_value(view) {
            Ok(value) => self.feed.publish(kind, value),
            Err(error) => tracing::error!(%error, kind, "an event could not be written as JSON"),
        }
    }

    fn publish_cells(&mut self) {
        let mut by_quantity: BTreeMap<u16, Vec<WindowKey>> = BTreeMap::new();
        for key in self.state.take_changed_cells().into_iter().take(MAX_CELLS) {
            by_quantity.entry(key.quantity).or_default().push(key);
        }
        for (quantity, mut keys) in by_quantity {
            keys.sort();
            if let Some(view) = views::changed_cells(&self.state, quantity, BASE_PRECISION, &keys) {
                self.publish("cells", &view);
            }
        }
    }

    /// The log has ended: everything is applied. Keep it: the last readings, then their windows.
    async fn finish(mut self) {
        loop {
            self.cut();
            if self.state.in_flight.is_none() {
                self.settle();
            }
            if self.is_alone || self.state.in_flight.is_none() && self.state.settled.is_none() {
                return;
            }
            tokio::select! {
                kept = self.kept.recv() => self.kept(kept),
                files = self.filed.recv() => self.filed(files),
            }
        }
    }
}

/// Takes over what the state counts.
pub(super) fn counted(state: &State, counters: &Counters) {
    let State { totals, sensors, gateways, current, .. } = state;
    let packed: usize = state.filed().chain(state.unfiled()).map(Hot::len).sum();
    let hot_windows = packed + current.windows.len();
    counters.pooled(*totals, sensors.len() as u64, gateways.len() as u64, hot_windows as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_take_their_turn_when_a_minute_has_come_in() {
        const MINUTE: i64 = 60_000;
        for (last, now, expected) in [
            (0, SETTLED_MS - 1, false),
            (0, SETTLED_MS, true),
            (SETTLED_MS, MINUTE + SETTLED_MS - 1, false),
            (SETTLED_MS, MINUTE + SETTLED_MS, true),
            (MINUTE + SETTLED_MS - 1, MINUTE + SETTLED_MS, true),
            (0, 90 * MINUTE, true),
            // The clock was set back.
            (90 * MINUTE, 60 * MINUTE, true),
        ] {
            assert_eq!(is_turn(last, now, MINUTE), expected, "{last} {now}");
        }
        for (is_time, bytes, all_are_cool, expected) in [
            (false, MAX_SETTLING, true, false),
            (true, 0, true, true),
            (true, MAX_SETTLING, false, false),
            (false, MAX_SETTLING + 1, false, true),
        ] {
            assert_eq!(are_due(is_time, bytes, all_are_cool), expected, "{is_time} {bytes} {all_are_cool}");
        }
        assert!(!is_crowded(true, MAX_SETTLING) && is_crowded(true, MAX_SETTLING + 1));
        assert!(!is_crowded(false, MAX_SETTLING + 1), "then they are due, or on their way");
        assert!(is_turn(7, 8, 0) && !is_turn(8, 8, 0), "each cut");
    }
}
