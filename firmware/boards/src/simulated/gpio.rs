//! Simulated pins: springs that bounce when a contact moves, buckets that tip when it rains.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Clock;
use super::street::{Street, quantity};
use super::world::Spot;
use crate::gpio::{Edge, Pins};
use crate::plan::Group;
use crate::port::Port;
use crate::{Chip, DeviceSpec};

/// The street is looked at so often. Steps lie on multiples, so that it does not matter who asks when.
const STEP_MS: u64 = 10;
/// A gap longer than this, a suspended machine say, is jumped over.
const LONGEST_GAP_MS: u64 = 60_000;
/// Longest bounce of a contact: all of a movement's edges lie within it.
const BOUNCES_MS: [u64; 3] = [0, 2, 5];
/// The reed switch of a bucket closes, bounces, closes, and opens when the magnet has passed.
const TIP_MS: [u64; 4] = [0, 3, 4, 80];
/// A bucket cannot tip faster: at high simulated speed the water waits.
const FASTEST_TIP_MS: u64 = 200;

/// Opens the pins of one group.
pub(crate) struct SimulatedPinsPort {
    street: Arc<Street>,
    devices: Vec<DeviceSpec>,
    clock: Clock,
}

impl SimulatedPinsPort {
    pub(crate) fn new(street: &Arc<Street>, group: &Group) -> Self {
        Self { street: Arc::clone(street), devices: group.devices.clone(), clock: Clock::default() }
    }
}

impl Port for SimulatedPinsPort {
    type Open = SimulatedPins;

    fn open(&mut self) -> Result<SimulatedPins, String> {
        let wired = |device: &DeviceSpec| {
            let (pin, kind) = match device.chip {
                Chip::Contact { pin, active_low, .. } => {
                    let quantity = quantity(device, "contact", 402);
                    (pin, Kind::Contact { quantity, closed: None, active_low })
                }
                Chip::RainGauge { pin, mm_per_tip } => {
                    (pin, Kind::Rain { mm_per_tip, held_mm: 0.0, tipped_ms: None })
                }
                _ => return None,
            };
            Some(Wired { pin, spot: self.street.spot(&device.name), kind })
        };
        Ok(SimulatedPins {
            street: Arc::clone(&self.street),
            wired: self.devices.iter().filter_map(wired).collect(),
            next_ms: self.clock.now_ms().next_multiple_of(STEP_MS),
            coming: Vec::new(),
            high: BTreeMap::new(),
        })
    }

    fn at(&mut self, now_ms: u64) {
        self.clock.set(now_ms);
    }
}

struct Wired {
    pin: u8,
    spot: Spot,
    kind: Kind,
}

enum Kind {
    Contact { quantity: u16, closed: Option<bool>, active_low: bool },
    Rain { mm_per_tip: f64, held_mm: f64, tipped_ms: Option<u64> },
}

/// The pins.
pub(crate) struct SimulatedPins {
    street: Arc<Street>,
    wired: Vec<Wired>,
    /// The next step of the street.
    next_ms: u64,
    /// Edges that follow from steps taken, some still to come.
    coming: Vec<Edge>,
    /// Levels after the edges given out.
    high: BTreeMap<u8, bool>,
}

impl SimulatedPins {
    fn step(&mut self, at_ms: u64) {
        let t_s = self.street.seconds(at_ms);
        let step_s = self.street.seconds(STEP_MS);
        for wired in &mut self.wired {
            let pin = wired.pin;
            match &mut wired.kind {
                Kind::Contact { quantity, closed, active_low } => {
                    let now = self.street.world.contact(*quantity, &wired.spot, t_s);
                    if *closed == Some(now) {
                        continue;
                    }
                    let first = closed.replace(now).is_none();
                    let level = now != *active_low;
                    // At the start the level is simply there.
                    let bounces = if first { &BOUNCES_MS[..1] } else { &BOUNCES_MS[..] };
                    let edge = |(index, after): (usize, &u64)| Edge {
                        pin,
                        at_ms: at_ms + after,
                        high: level == index.is_multiple_of(2),
                    };
                    self.coming.extend(bounces.iter().enumerate().map(edge));
                }
                Kind::Rain { mm_per_tip, held_mm, tipped_ms } => {
                    *held_mm += self.street.world.rain_mm_h(t_s) / 3_600.0 * step_s;
                    let free = tipped_ms.is_none_or(|tipped_ms| at_ms >= tipped_ms + FASTEST_TIP_MS);
                    if *held_mm >= *mm_per_tip && free {
                        *held_mm -= *mm_per_tip;
                        *tipped_ms = Some(at_ms);
                        let edge = |(index, after): (usize, &u64)| Edge {
                            pin,
                            at_ms: at_ms + after,
                            high: !index.is_multiple_of(2),
                        };
                        self.coming.extend(TIP_MS.iter().enumerate().map(edge));
                    }
                }
            }
        }
    }
}

impl Pins for SimulatedPins {
    fn is_high(&mut self, pin: u8) -> Result<bool, String> {
        // The pull-up holds a pin that nothing closes.
        Ok(self.high.get(&pin).copied().unwrap_or(true))
    }

    fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
        if now_ms.saturating_sub(self.next_ms) > LONGEST_GAP_MS {
            self.next_ms = (now_ms - LONGEST_GAP_MS).next_multiple_of(STEP_MS);
        }
        while self.next_ms <= now_ms {
            self.step(self.next_ms);
            self.next_ms += STEP_MS;
        }
        self.coming.sort_by_key(|edge| edge.at_ms);
        for edge in self.coming.extract_if(.., |edge| edge.at_ms <= now_ms) {
            self.high.insert(edge.pin, edge.high);
            into.push(edge);
        }
        Ok(())
    }
}
