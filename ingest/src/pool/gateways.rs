//! Gateways as they last described themselves.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use wire::{Announcement, BootId, Clock, ClockState, GatewayId, Health};

/// The database is told when a gateway was last heard at most this often, in milliseconds: people are shown the
/// state in memory.
const SAVE_MS: i64 = 60_000;

/// A gateway, or a source of third-party data.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Gateway {
    /// When anything of it was last received, in milliseconds since 1970 UTC.
    pub last_heard_ms: i64,
    /// When it was first received.
    pub first_heard_ms: i64,
    /// The `last_heard_ms` that the database was told.
    pub saved_ms: i64,
    /// Latitude and longitude, WGS-84, in 1e-7 degrees.
    pub place: Option<(i32, i32)>,
    /// Where it belongs.
    pub area: String,
    /// Kind of board.
    pub board: Option<String>,
    /// Version of its software.
    pub version: Option<String>,
    /// What it knows of the time.
    pub clock: Option<ClockState>,
    /// Its gauges.
    pub gauges: BTreeMap<String, f64>,
    /// When the gauges were received.
    pub gauges_ms: i64,
    /// The start of the box whose wall clock is known, and its wall time at monotonic zero.
    pub synchronised: Option<(BootId, i64)>,
}

/// All gateways.
#[derive(Debug, Clone, Default)]
pub struct Gateways {
    all: BTreeMap<GatewayId, Gateway>,
    /// Heard of or changed since listeners were told.
    touched: BTreeSet<GatewayId>,
    /// Heard of or changed since the database was told.
    unsaved: BTreeSet<GatewayId>,
}

impl Gateways {
    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One.
    pub fn get(&self, gateway: &GatewayId) -> Option<&Gateway> {
        self.all.get(gateway)
    }

    /// All from `after` on, by name.
    pub fn after(&self, after: Option<&GatewayId>) -> impl Iterator<Item = (&GatewayId, &Gateway)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |after| Excluded(after.clone()));
        self.all.range((from, Unbounded))
    }

    /// Notes that something of it was received.
    pub fn heard(&mut self, gateway: &GatewayId, received_ms: i64) -> &mut Gateway {
        if !self.touched.contains(gateway) {
            self.touched.insert(gateway.clone());
        }
        let entry = self
            .all
            .entry(gateway.clone())
            .or_insert_with(|| Gateway { first_heard_ms: received_ms, ..Gateway::default() });
        entry.last_heard_ms = entry.last_heard_ms.max(received_ms);
        if entry.last_heard_ms - entry.saved_ms >= SAVE_MS && !self.unsaved.contains(gateway) {
            self.unsaved.insert(gateway.clone());
        }
        entry
    }

    /// Notes that it described itself anew: the database is to know.
    pub(super) fn described(&mut self, gateway: &GatewayId) {
        self.unsaved.insert(gateway.clone());
    }

    /// Those heard of since this was last asked.
    pub(super) fn take_touched(&mut self) -> BTreeSet<GatewayId> {
        std::mem::take(&mut self.touched)
    }

    /// Those to be saved since this was last asked.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<GatewayId> {
        let unsaved = std::mem::take(&mut self.unsaved);
        for gateway in &unsaved {
            if let Some(entry) = self.all.get_mut(gateway) {
                entry.saved_ms = entry.last_heard_ms;
            }
        }
        unsaved
    }

    /// For the checkpoint.
    pub(super) fn to_list(&self) -> Vec<(&GatewayId, &Gateway)> {
        self.all.iter().collect()
    }

    /// From the checkpoint.
    pub(super) fn from_list(list: Vec<(GatewayId, Gateway)>) -> Self {
        Self { all: list.into_iter().collect(), ..Self::default() }
    }
}

impl Gateway {
    /// Takes what the gateway says of its clock.
    pub fn clock(&mut self, boot: BootId, clock: &Clock) {
        self.clock = Some(clock.state);
        if clock.state == ClockState::Synchronised {
            self.synchronised = Some((boot, clock.epoch_ms));
        }
    }

    /// The clock to read times of `boot` with: what the message says, or what the gateway learned of the time
    /// later in the same start, when it was not sure of it yet as it sampled.
    pub fn better_clock(&self, boot: BootId, clock: Clock) -> Clock {
        match self.synchronised {
            Some((known, epoch_ms)) if known == boot && clock.state != ClockState::Synchronised => {
                Clock { state: ClockState::HeldOver, epoch_ms }
            }
            _ => clock,
        }
    }

    /// Takes an announcement.
    pub fn announced(&mut self, announcement: &Announcement, place: (i32, i32)) {
        self.place = Some(place);
        self.area = announcement.place.area.to_string();
        self.board = Some(announcement.board.chars().take(64).collect());
        self.version = Some(announcement.version.chars().take(64).collect());
    }

    /// Takes its gauges; an older message than the newest does not go back.
    pub fn health(&mut self, health: &Health, received_ms: i64) {
        if received_ms >= self.gauges_ms {
            self.gauges_ms = received_ms;
            // 128 gauges at most, by the wire's own rule.
            self.gauges = (health.gauges.iter())
                .filter(|(_, value)| value.is_finite())
                .map(|(name, value)| (name.chars().take(64).collect(), *value))
                .collect();
        }
    }
}
