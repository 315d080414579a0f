//! Readings of boxes that do not know the time yet.
//!
//! A box without a clock samples all the same. Once it has synchronised, the monotonic times of that start become
//! wall times, also those of earlier batches; so such batches wait here, after their log record and before Parquet.
//! Who waits too long, or when too many wait, is dated by receipt and enters no window.

use std::collections::{HashMap, VecDeque};

use wire::{Batch, BootId, Frame, GatewayId, Payload};

/// How long a batch waits for its box to learn the time, in milliseconds: a day.
pub const PATIENCE_MS: i64 = 86_400_000;
/// Most readings that wait; the oldest batches then go as they are. Some 20 MB, and a day of a box with 3 sensors at
/// 1 Hz.
pub const MAX_READINGS: usize = 262_144;

/// A batch that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiter {
    pub(super) received_ms: i64,
    pub(super) frame: Frame,
}

impl Waiter {
    pub(super) fn batch(&self) -> Option<&Batch> {
        match &self.frame.payload {
            Payload::Readings(batch) => Some(batch),
            _ => None,
        }
    }
}

/// All that wait, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Waiter>,
    /// How many batches of a gateway wait: almost always nobody does, and looking must cost nothing.
    by_gateway: HashMap<GatewayId, usize>,
    readings: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, waiter: Waiter) {
        self.readings += waiter.frame.payload.items();
        *self.by_gateway.entry(waiter.frame.gateway.clone()).or_default() += 1;
        self.queue.push_back(waiter);
    }

    /// Those of one start of a box, oldest first.
    pub(super) fn take(&mut self, gateway: &GatewayId, boot: BootId) -> Vec<Waiter> {
        if !self.by_gateway.contains_key(gateway) {
            return Vec::new();
        }
        let wanted = |waiter: &Waiter| {
            waiter.frame.gateway == *gateway && waiter.batch().is_some_and(|batch| batch.boot == boot)
        };
        let (taken, left): (Vec<Waiter>, Vec<Waiter>) = self.queue.drain(..).partition(wanted);
        *self = Self::from_list(left);
        taken
    }

    /// Those that waited long enough at `now_ms`, or that are too many.
    pub(super) fn overdue(&mut self, now_ms: i64) -> Vec<Waiter> {
        let mut overdue = Vec::new();
        while let Some(oldest) = self.queue.front()
            && (self.readings > MAX_READINGS || now_ms.saturating_sub(oldest.received_ms) > PATIENCE_MS)
        {
            let gateway = oldest.frame.gateway.clone();
            self.readings -= oldest.frame.payload.items();
            if let Some(count) = self.by_gateway.get_mut(&gateway) {
                *count -= 1;
                if *count == 0 {
                    self.by_gateway.remove(&gateway);
                }
            }
            overdue.extend(self.queue.pop_front());
        }
        overdue
    }

    /// Those of one gateway.
    pub(super) fn of(&self, gateway: &GatewayId) -> impl Iterator<Item = &Waiter> {
        let some = self.by_gateway.contains_key(gateway);
        self.queue.iter().filter(move |waiter| some && waiter.frame.gateway == *gateway)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.iter()
    }

    pub(super) fn from_list(list: Vec<Waiter>) -> Self {
        let mut waiting = Self::default();
        list.into_iter().for_each(|waiter| waiting.push(waiter));
        waiting
    }
}
