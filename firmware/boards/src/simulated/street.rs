//! Which device stands where, where fires break out, and whose wire breaks.

use super::noise::mix;
use super::world::{Spot, World};
use crate::{Chip, DeviceSpec};

/// Quantities by which a fire is noticed: air temperature, smoke, carbon monoxide, cable temperature.
const FIRE_CODES: [u16; 4] = [1, 200, 201, 207];
/// Fires take turns between so many seats.
const SEATS: usize = 4;
/// Devices nearer than this notice the same fire by their heat.
const TOGETHER_M: f64 = 18.0;
/// The flaky loop is dead for so long ...
const BREAK_S: f64 = 12.0;
/// ... out of so long ...
const BREAK_PERIOD_S: f64 = 300.0;
/// ... beginning here.
const BREAK_AT_S: f64 = 90.0;

/// The street with its devices.
pub(crate) struct Street {
    pub(crate) world: World,
    seed: u64,
    speed: f64,
    /// The loop whose wire breaks now and then; none in a street with fewer than three loops.
    flaky: Option<String>,
}

impl Street {
    /// A street for these devices. Fires break out where devices are that notice them, best watched places first.
    pub(crate) fn new<'d>(
        seed: u64,
        speed: f64,
        calm_s: f64,
        devices: impl Iterator<Item = &'d DeviceSpec>,
    ) -> Self {
        let devices: Vec<&DeviceSpec> = devices.collect();
        let mut watchers: Vec<(Spot, u16)> = Vec::new();
        for device in &devices {
            let noticed =
                device.outputs.iter().map(|output| output.quantity.0).find(|code| FIRE_CODES.contains(code));
            watchers.extend(noticed.map(|code| (Spot::of(seed, &device.name), code)));
        }
        let mut seats: Vec<(usize, u64, f64)> = watchers
            .iter()
            .map(|(spot, _)| {
                let close = |code: &u16| {
                    watchers.iter().any(|(other, c)| c == code && (other.at_m - spot.at_m).abs() < TOGETHER_M)
                };
                (FIRE_CODES.iter().filter(|code| close(code)).count(), mix(spot.salt), spot.at_m)
            })
            .collect();
        seats.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let seats: Vec<f64> = seats.into_iter().take(SEATS).map(|(_, _, at_m)| at_m).collect();

        let mut loops: Vec<&&DeviceSpec> =
            devices.iter().filter(|device| matches!(device.chip, Chip::Ads1115Loop { .. })).collect();
        loops.sort_by_key(|device| mix(Spot::of(seed, &device.name).salt));
        let flaky = (loops.len() >= 3).then(|| loops[0].name.clone());
        Self { world: World::new(seed, calm_s, seats), seed, speed, flaky }
    }

    /// Simulated seconds at `now_ms`.
    pub(crate) fn seconds(&self, now_ms: u64) -> f64 {
        now_ms as f64 / 1000.0 * self.speed
    }

    /// Where a device stands.
    pub(crate) fn spot(&self, device: &str) -> Spot {
        Spot::of(self.seed, device)
    }

    /// Whether the wire of this loop is broken.
    pub(crate) fn is_broken(&self, device: &str, t_s: f64) -> bool {
        let into = (t_s - BREAK_AT_S) % BREAK_PERIOD_S;
        self.flaky.as_deref() == Some(device) && (0.0..BREAK_S).contains(&into)
    }
}

/// The quantity of a device's output, or the usual one.
pub(crate) fn quantity(device: &DeviceSpec, output: &str, usual: u16) -> u16 {
    let found = device.outputs.iter().find(|candidate| candidate.output == output);
    found.map_or(usual, |output| output.quantity.0)
}
