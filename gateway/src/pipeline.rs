//! The thread between the buses and the buffer: judges, watches for alarms, gathers batches.
//!
//! It owns all pure parts, so that none of them needs a lock: samples come in through one bounded queue, payloads go
//! out to the buffer's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use boards::Sample;
use wire::alarm::MAX_EVENTS;
use wire::{AlarmEvent, Alarms, Batch, Payload};

use crate::batch::{Batcher, Judged};
use crate::buffer::{Buffer, RuleMemory, Stopped};
use crate::clock::Timekeeper;
use crate::judge::{Judge, Rules};
use crate::sample::Stop;

/// Clock, silence and the stop are looked at this often, in ms.
const TICK_MS: u64 = 250;
/// How long samples that are already queued are still taken after the stop, in ms.
const DRAIN_MS: u64 = 300;

/// Figures of the pipeline.
#[derive(Debug, Default)]
pub struct PipelineFigures {
    /// Readings judged since the start.
    pub readings: AtomicU64,
    /// Readings without a value since the start.
    pub faults: AtomicU64,
    /// Alarm events since the start.
    pub alarm_events: AtomicU64,
    /// Alarms active now.
    pub active: AtomicU64,
    /// Rules that are blind now.
    pub blind: AtomicU64,
    /// Readings given up because the disk stood still, since the start.
    pub dropped: AtomicU64,
    /// When the thread last came round its loop, in ms since the start.
    pub beat_ms: AtomicU64,
}

/// Everything the thread works with.
pub struct Pipeline {
    /// Judges quality.
    pub judge: Judge,
    /// Watches for alarms.
    pub rules: Rules,
    /// Gathers readings.
    pub batcher: Batcher,
    /// Keeps what comes out.
    pub buffer: Buffer,
    /// Tells the time.
    pub time: Timekeeper,
    /// Told when to end.
    pub stop: Stop,
    /// Where to count.
    pub figures: Arc<PipelineFigures>,
}

impl Pipeline {
    /// Runs until the stop, or until no bus is left; then closes the last batch.
    pub fn run(mut self, samples: &Receiver<Vec<Sample>>) {
        let mut ticked_ms = 0;
        let mut end_ms = None;
        loop {
            let now_ms = self.time.now_ms();
            self.figures.beat_ms.store(now_ms, Ordering::Relaxed);
            let until = self.batcher.next_timeout().unwrap_or(u64::MAX).min(now_ms + TICK_MS);
            let step = match samples.recv_timeout(Duration::from_millis(until.saturating_sub(now_ms))) {
                Ok(polled) => polled.iter().try_for_each(|sample| self.take(sample)),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let now_ms = self.time.now_ms();
            if step.is_err() || end_ms.is_some_and(|end| now_ms >= end) {
                break;
            }
            if now_ms.saturating_sub(ticked_ms) >= TICK_MS {
                ticked_ms = now_ms;
                if self.tick(now_ms).is_err() {
                    break;
                }
                if end_ms.is_none() && self.stop.stopped() {
                    end_ms = Some(now_ms + DRAIN_MS);
                }
            }
            if let Some(batch) = self.batcher.timeout(now_ms) {
                self.keep(batch);
            }
        }
        if let Some(batch) = self.batcher.close() {
            // The last words are waited for; an error means that nobody is there to keep them.
            let _ = self.buffer.keep_blocking(Payload::Readings(batch), Vec::new());
        }
    }

    fn tick(&mut self, now_ms: u64) -> Result<(), Stopped> {
        if let Some(clock) = self.time.observe() {
            tracing::info!(state = ?clock.state, epoch_ms = clock.epoch_ms, "the wall clock changed");
            if let Some(batch) = self.batcher.clock(clock) {
                self.keep(batch);
            }
        }
        for fault in self.judge.silent(now_ms) {
            self.judged(fault)?;
        }
        Ok(())
    }

    fn take(&mut self, sample: &Sample) -> Result<(), Stopped> {
        match self.judge.judge(self.time.now_ms(), sample) {
            Some(judged) => self.judged(judged),
            None => Ok(()),
        }
    }

    fn judged(&mut self, judged: Judged) -> Result<(), Stopped> {
        self.figures.readings.fetch_add(1, Ordering::Relaxed);
        if judged.value.is_none() {
            self.figures.faults.fetch_add(1, Ordering::Relaxed);
        }
        let events = self.rules.judge(&judged);
        // The alarm goes before the reading that caused it.
        self.raise(events)?;
        if let Some(batch) = self.batcher.push(self.time.now_ms(), judged) {
            self.keep(batch);
        }
        Ok(())
    }

    /// Keeps alarm events together with what must be remembered of their rules. Waits for the disk: an alarm is
    /// never given up.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn raise(&self, events: Vec<AlarmEvent>) -> Result<(), Stopped> {
        if events.is_empty() {
            return Ok(());
        }
        let (active, blind) = self.rules.standing();
        self.figures.active.store(active as u64, Ordering::Relaxed);
        self.figures.blind.store(blind as u64, Ordering::Relaxed);
        self.figures.alarm_events.fetch_add(events.len() as u64, Ordering::Relaxed);
        let stamp = self.time.stamp();
        for events in events.chunks(MAX_EVENTS) {
            for event in events {
                tracing::warn!(
                    rule = event.rule, kind = ?event.kind, sensor = %event.sensor, value = event.value,
                    threshold = event.threshold, "alarm"
                );
            }
            let rules = events
                .iter()
                .map(|event| RuleMemory { rule: event.rule.clone(), events: self.rules.memory(event) })
                .collect();
            let alarms = Alarms { boot: stamp.boot, clock: stamp.clock, events: events.to_vec() };
            self.buffer.keep_blocking(Payload::Alarms(alarms), rules)?;
        }
        Ok(())
    }

    /// Keeps readings unless the disk has stood still for a whole queue of commands: then they are given up and
    /// counted, so that alarms are still judged.
    fn keep(&self, batch: Batch) {
        let readings = batch.readings.len() as u64;
        if self.buffer.try_keep(Payload::Readings(batch)).is_err() {
            self.figures.dropped.fetch_add(readings, Ordering::Relaxed);
            tracing::error!(readings, "the disk does not answer: readings are given up");
        }
    }
}
