//! What is true in the street at a time: weather, fires, floods, doors. Pure: a function of the seed and the time.
//!
//! After the calm the first fire breaks out within 8 to 14 seconds and burns down within four minutes; the next, elsewhere, follows
//! eight minutes after. A cloudburst begins 16 seconds after the calm; the water rises from 30 seconds on, passes 250 mm within a
//! minute and a half, and has gone five and a half minutes after the rain; it comes again every ten minutes.

use super::noise::{mix, name, smooth, unit, wander};

/// Length of the street in metres.
pub(crate) const STREET_M: f64 = 400.0;
/// Devices of one house stand within so many metres.
const HOUSE_M: f64 = 10.0;
/// From one fire to the next, in seconds.
const FIRE_PERIOD_S: f64 = 480.0;
/// From one cloudburst to the next, in seconds.
const FLOOD_PERIOD_S: f64 = 600.0;
/// How far heat reaches: at this distance a third of it is left.
const HEAT_REACH_M: f64 = 25.0;
/// How far smoke and carbon monoxide drift.
const SMOKE_REACH_M: f64 = 45.0;
/// Rain in full cloudburst, mm/h.
const CLOUDBURST_MM_H: f64 = 240.0;

/// A place in the street, with a character of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spot {
    /// Metres from the start of the street.
    pub(crate) at_m: f64,
    /// Makes its noise differ from its neighbour's.
    pub(crate) salt: u64,
}

impl Spot {
    /// Where the device of this name stands. Devices whose names begin alike up to a dot, `house3.hall` and
    /// `house3.smoke`, stand together.
    pub(crate) fn of(seed: u64, device: &str) -> Self {
        let salt = name(seed, device);
        let at_m = match device.split_once('.') {
            None => unit(salt) * STREET_M,
            Some((house, _)) => unit(name(seed, house)) * (STREET_M - HOUSE_M) + unit(salt) * HOUSE_M,
        };
        Self { at_m, salt }
    }
}

/// The street.
#[derive(Debug, Clone)]
pub(crate) struct World {
    seed: u64,
    /// Seconds before fires and floods begin.
    calm_s: f64,
    /// Where fires break out, in turn.
    seats_m: Vec<f64>,
}

impl World {
    /// A street whose fires break out at `seats_m`, in turn; in its middle when there are none. Nothing happens
    /// in its first `calm_s` seconds.
    pub(crate) fn new(seed: u64, calm_s: f64, mut seats_m: Vec<f64>) -> Self {
        if seats_m.is_empty() {
            seats_m.push(STREET_M / 2.0);
        }
        Self { seed, calm_s, seats_m }
    }

    /// Seconds since the present fire broke out, and its seat.
    fn fire(&self, t_s: f64) -> Option<(f64, f64)> {
        let since_first = t_s - self.calm_s - 8.0 - unit(self.seed ^ 0xf1e) * 6.0;
        if since_first < 0.0 {
            return None;
        }
        let number = (since_first / FIRE_PERIOD_S) as usize;
        let seat = self.seats_m[number % self.seats_m.len()];
        Some((since_first % FIRE_PERIOD_S, seat))
    }

    /// Heat at a place, 0 to 1.
    fn heat(&self, spot: &Spot, t_s: f64) -> f64 {
        self.fire(t_s).map_or(0.0, |(age, seat)| {
            smooth(age / 30.0) * (1.0 - smooth((age - 120.0) / 90.0)) * near(spot.at_m - seat, HEAT_REACH_M)
        })
    }

    /// Smoke at a place, 0 to 1: it comes before the heat and stays after it.
    fn smoke(&self, spot: &Spot, t_s: f64) -> f64 {
        self.fire(t_s).map_or(0.0, |(age, seat)| {
            smooth(age / 18.0) * (1.0 - smooth((age - 130.0) / 105.0)) * near(spot.at_m - seat, SMOKE_REACH_M)
        })
    }

    /// Rain in mm/h, the same in the whole street.
    pub(crate) fn rain_mm_h(&self, t_s: f64) -> f64 {
        let t = (t_s - self.calm_s).max(0.0) % FLOOD_PERIOD_S;
        CLOUDBURST_MM_H * smooth((t - 16.0) / 6.0) * (1.0 - smooth((t - 75.0) / 35.0))
    }

    /// How far the water has risen at a place, in mm. Low places drown deeper.
    fn flood_mm(&self, spot: &Spot, t_s: f64) -> f64 {
        let t = (t_s - self.calm_s).max(0.0) % FLOOD_PERIOD_S;
        let depth = 360.0 + 160.0 * unit(spot.salt ^ 0xdee9);
        depth * smooth((t - 30.0) / 70.0) * (1.0 - smooth((t - 170.0) / 165.0))
    }

    /// Water level over the bottom in mm.
    fn level_mm(&self, spot: &Spot, t_s: f64) -> f64 {
        90.0 + 40.0 * unit(spot.salt ^ 0xba5e)
            + self.flood_mm(spot, t_s)
            + 2.0 * wander(spot.salt ^ 0x217, t_s, 1.7)
    }

    /// The value of quantity `code` at a place, in the catalogue's unit; `None` for one that this street does not
    /// have. Codes are those of `configs/quantities`.
    pub(crate) fn value(&self, code: u16, spot: &Spot, t_s: f64) -> Option<f64> {
        let salt = spot.salt ^ mix(u64::from(code));
        let slow = wander(salt, t_s, 120.0);
        let quick = wander(salt ^ 1, t_s, 2.3);
        let day = (t_s / 86_400.0 * std::f64::consts::TAU).sin();
        let (heat, smoke) = (self.heat(spot, t_s), self.smoke(spot, t_s));
        let flood = self.flood_mm(spot, t_s);
        let wet = self.rain_mm_h(t_s) / CLOUDBURST_MM_H;
        let air = 19.0 + 5.0 * day + 1.2 * slow - 1.5 * wet;
        Some(match code {
            1 => air + 0.05 * quick + 78.0 * heat,
            2 => (58.0 - 9.0 * day + 4.0 * slow + 0.2 * quick + 25.0 * wet - 45.0 * heat).clamp(4.0, 99.0),
            3 => 957.0 + 2.0 * day + 0.8 * slow - 1.5 * wet,
            4 | 5 => self.rain_mm_h(t_s),
            6 => (2.0 + 1.2 * slow + 0.6 * quick + 6.0 * wet).max(0.0),
            7 => (180.0 + 60.0 * slow + 12.0 * quick).clamp(0.0, 360.0),
            8 => (38.0 + 8.0 * slow + quick + 420.0 * smoke - 15.0 * wet).max(1.0),
            9 => (61.0 + 12.0 * slow + 2.0 * quick + 610.0 * smoke - 25.0 * wet).max(2.0),
            10 => 460.0 + 35.0 * slow + 4.0 * quick + 3_800.0 * smoke,
            11 => (12_000.0 + 9_000.0 * day + 800.0 * slow - 6_000.0 * wet).max(0.0),
            12 => 54.0 + 5.0 * slow + 3.0 * quick + 14.0 * wet,
            100 => self.level_mm(spot, t_s),
            101 => 2_000.0 - self.level_mm(spot, t_s),
            102 => 0.12 + 0.02 * slow + flood * 0.004,
            103 => 0.4 + 0.05 * slow + flood * 0.003,
            104 => 16.0 + 0.4 * slow - 1.2 * wet,
            105 => 7.3 + 0.1 * slow - 0.4 * wet,
            106 => 12.0 + 2.0 * slow + quick + flood * 1.4,
            107 => 320.0 + 6.0 * slow + 2.0 * quick - 45.0 * self.smoke_anywhere(t_s),
            108 => (31.0 + 2.0 * slow + flood * 0.08).min(100.0),
            200 => 0.2 + 0.1 * (1.0 + quick) + 38.0 * smoke,
            201 => 2.0 + slow + 0.3 * quick + 420.0 * smoke,
            202 => 0.6 + 0.2 * slow + 0.1 * quick,
            205 => 420.0 + 5.0 * slow - 110.0 * self.smoke_anywhere(t_s),
            206 => 28.0 + 4.0 * slow + quick + 340.0 * heat,
            207 => 34.0 + 4.0 * slow + 0.3 * quick + 95.0 * heat,
            300 | 301 => 44.0 + 3.0 * slow + quick + 30.0 * heat,
            302 => 0.6 + 0.3 * slow,
            305 => 12.9 + 0.15 * slow,
            306 => 230.0 + 3.0 * slow + 0.8 * quick,
            307 => 12.0 + 4.0 * slow,
            308 => -71.0 + 6.0 * slow,
            310 => 2_400.0 + 150.0 * slow,
            311 => 640.0 + 180.0 * slow,
            404 => 0.6 + 0.2 * slow,
            405 => (14.0 + 12.0 * slow).round(),
            406 => (9.0 + 8.0 * slow).round(),
            408 => 0.3 + 0.2 * slow.abs() + 0.1 * quick.abs(),
            _ => return None,
        })
    }

    /// Whether a contact is closed: the door open, the flame seen, the cover lifted.
    pub(crate) fn contact(&self, code: u16, spot: &Spot, t_s: f64) -> bool {
        match code {
            203 => self.heat(spot, t_s) > 0.35,
            204 => self.smoke(spot, t_s) > 0.5,
            403 => self.flood_mm(spot, t_s) > 400.0,
            401 => at_times(spot.salt ^ 0x7a3, t_s, 900.0, 0.02, 6.0, 20.0),
            407 => at_times(spot.salt ^ 0xca7, t_s, 300.0, 0.7, 120.0, 280.0),
            _ => at_times(spot.salt ^ 0xd00, t_s, 45.0, 0.35, 3.0, 14.0),
        }
    }

    /// The fire, without asking where: pumps feel it from anywhere.
    fn smoke_anywhere(&self, t_s: f64) -> f64 {
        self.fire(t_s).map_or(0.0, |(_, seat)| self.smoke(&Spot { at_m: seat, salt: 0 }, t_s))
    }
}

/// What is left at a distance.
fn near(distance_m: f64, reach_m: f64) -> f64 {
    (-(distance_m / reach_m).powi(2)).exp()
}

/// True in some slots of `slot_s`, each with `chance`, for a stretch of `least_s` to `most_s` inside the slot.
fn at_times(salt: u64, t_s: f64, slot_s: f64, chance: f64, least_s: f64, most_s: f64) -> bool {
    let slot = (t_s / slot_s).floor();
    let dice = |n: u64| unit(salt ^ mix(slot as i64 as u64) ^ n);
    let length = least_s + (most_s - least_s) * dice(2);
    let start = (slot_s - length) * dice(3);
    let into = t_s - slot * slot_s;
    dice(1) < chance && into >= start && into < start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(at_m: f64) -> Spot {
        Spot { at_m, salt: 42 }
    }

    #[test]
    fn devices_of_a_house_stand_together_in_the_street() {
        for seed in 0..100 {
            let at = |device| Spot::of(seed, device).at_m;
            assert!((at("house1.hall") - at("house1.smoke")).abs() <= HOUSE_M, "seed {seed}");
            assert!((0.0..=STREET_M).contains(&at("house1.hall")), "seed {seed}");
        }
        let apart =
            (0..100).map(|seed| Spot::of(seed, "house1.hall").at_m - Spot::of(seed, "house2.hall").at_m);
        assert!(apart.filter(|gap| gap.abs() > HOUSE_M).count() > 80);
    }

    #[test]
    fn a_fire_breaks_out_spreads_and_burns_down() {
        for seed in 0..50 {
            let world = World::new(seed, 0.0, vec![100.0]);
            let value = |code, t| world.value(code, &spot(100.0), t).unwrap();
            assert!(value(1, 5.0) < 35.0 && value(200, 5.0) < 2.0, "seed {seed}: too early");
            assert!(value(200, 24.0) > 10.0, "seed {seed}: no smoke");
            assert!(value(1, 40.0) > 60.0 && value(201, 40.0) > 150.0, "seed {seed}: no fire");
            assert!(value(1, 280.0) < 35.0 && value(200, 280.0) < 2.0, "seed {seed}: still burning");
            assert!(value(1, 550.0) > 60.0, "seed {seed}: no second fire");
            assert!(world.value(1, &spot(250.0), 60.0).unwrap() < 35.0, "seed {seed}: far away it is quiet");
        }
    }

    #[test]
    fn temperature_rises_no_faster_than_its_catalogue_entry_allows() {
        let world = World::new(1, 0.0, vec![100.0]);
        for step in 0..3_000 {
            let t = f64::from(step) * 0.1;
            let value = |t| world.value(1, &spot(100.0), t).unwrap();
            assert!((value(t + 1.0) - value(t)).abs() < 5.0, "at {t} s");
        }
    }

    #[test]
    fn water_rises_after_the_rain_and_falls_again() {
        let world = World::new(1, 0.0, vec![]);
        for salt in 0..100 {
            let level = |t| world.value(100, &Spot { at_m: 0.0, salt: mix(salt) }, t).unwrap();
            assert!(level(29.0) < 150.0 && level(90.0) > 250.0 && level(340.0) < 150.0, "place {salt}");
        }
        assert!(
            world.rain_mm_h(10.0) == 0.0 && world.rain_mm_h(30.0) > 200.0 && world.rain_mm_h(120.0) == 0.0
        );
    }

    #[test]
    fn the_calm_puts_the_story_off_and_changes_nothing_else_of_it() {
        let (now, later) = (World::new(1, 0.0, vec![100.0]), World::new(1, 64.0, vec![100.0]));
        for step in 0..2_000 {
            let t = f64::from(step) * 0.5;
            assert_eq!(later.heat(&spot(100.0), t + 64.0), now.heat(&spot(100.0), t));
            assert_eq!(later.flood_mm(&spot(100.0), t + 64.0), now.flood_mm(&spot(100.0), t));
        }
        assert!(
            (0..64)
                .all(|t| later.smoke(&spot(100.0), f64::from(t)) == 0.0
                    && later.rain_mm_h(f64::from(t)) == 0.0)
        );
    }

    #[test]
    fn doors_open_and_close() {
        let world = World::new(1, 0.0, vec![]);
        let states: Vec<bool> = (0..600).map(|t| world.contact(400, &spot(3.0), f64::from(t))).collect();
        let changes = states.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes >= 4, "{changes} changes in ten minutes");
    }
}
