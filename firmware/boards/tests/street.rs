//! The simulated street through the real drivers and pollers.
#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

use std::collections::BTreeMap;

use boards::{Board, Chip, DeviceSpec, Fault, Output, Sample, open};
use wire::QuantityCode;

const SEED: u64 = 1;
const TEMPERATURE: u16 = 1;
const HUMIDITY: u16 = 2;
const RAIN: u16 = 4;
const LEVEL: u16 = 100;
const SMOKE: u16 = 200;
const CO: u16 = 201;
const DOOR: u16 = 400;

/// A street under construction: numbers the sensors.
#[derive(Default)]
struct Plan {
    devices: Vec<DeviceSpec>,
    sensors: Vec<u16>,
}

impl Plan {
    fn device(&mut self, bus: &str, chip: Chip, every_ms: u64, outputs: &[(&str, u16)]) {
        let outputs = outputs
            .iter()
            .map(|&(output, quantity)| {
                self.sensors.push(quantity);
                let sensor = self.sensors.len() as u16 - 1;
                Output { output: output.into(), sensor, quantity: QuantityCode(quantity) }
            })
            .collect();
        let name = format!("device-{}", self.devices.len());
        self.devices.push(DeviceSpec { name, chip, bus: bus.into(), every_ms, outputs });
    }

    /// Twelve rooms with climate, smoke and CO, three levels, two doors, a rain gauge.
    fn street() -> Self {
        let mut plan = Plan::default();
        for room in 0..12_u8 {
            let bus = format!("i2c-{}", room / 3);
            plan.device(
                &bus,
                Chip::Sht4x { address: 0x44 + room % 3 },
                1_000,
                &[("temperature", TEMPERATURE), ("humidity", HUMIDITY)],
            );
            let adc = |channel, at_20ma| Chip::Ads1115Loop {
                address: 0x48 + room % 3,
                channel,
                shunt_ohm: 100.0,
                at_4ma: 0.0,
                at_20ma,
            };
            plan.device(&bus, adc(0, 100.0), 1_000, &[("value", SMOKE)]);
            plan.device(&bus, adc(1, 1_000.0), 1_000, &[("value", CO)]);
        }
        for line in 0..3 {
            let chip = Chip::A02yyuw { mounted_mm: Some(2_000.0) };
            plan.device(&format!("uart-{line}"), chip, 1_000, &[("level", LEVEL)]);
        }
        for pin in 0..2 {
            let chip = Chip::Contact { pin, debounce_ms: 50, active_low: true };
            plan.device("gpio", chip, 60_000, &[("contact", DOOR)]);
        }
        plan.device("gpio", Chip::RainGauge { pin: 9, mm_per_tip: 0.2 }, 10_000, &[("rain", RAIN)]);
        plan
    }

    /// Everything the street says until `until_s`, polled as the buses ask for it.
    fn run(&self, seed: u64, until_s: u64) -> Vec<Sample> {
        let mut buses = open(&Board::Simulated { seed, speed: 1.0, calm_s: 0.0 }, &self.devices).unwrap();
        let mut samples = Vec::new();
        for bus in &mut buses {
            while bus.next_due_ms() <= until_s * 1_000 {
                let now_ms = bus.next_due_ms();
                bus.poll(now_ms, &mut samples);
                assert!(bus.next_due_ms() > now_ms, "{} wants to be polled for ever", bus.name());
            }
        }
        samples
    }

    fn of<'s>(&'s self, samples: &'s [Sample], quantity: u16) -> impl Iterator<Item = &'s Sample> {
        samples.iter().filter(move |sample| self.sensors[usize::from(sample.sensor)] == quantity)
    }

    fn highest(&self, samples: &[Sample], quantity: u16, from_s: u64, to_s: u64) -> f64 {
        let within = |sample: &&Sample| (from_s * 1_000..=to_s * 1_000).contains(&sample.mono_ms);
        let values = self.of(samples, quantity).filter(within).filter_map(|sample| sample.value.ok());
        values.fold(f64::NEG_INFINITY, f64::max)
    }
}

#[test]
fn the_same_seed_is_the_same_street() {
    let plan = Plan::street();
    assert_eq!(plan.run(SEED, 60), plan.run(SEED, 60));
    assert_ne!(plan.run(SEED, 60), plan.run(SEED + 1, 60));
}

#[test]
fn a_fire_breaks_out_burns_down_and_comes_again() {
    let plan = Plan::street();
    for seed in [1, 2, 42] {
        let samples = plan.run(seed, 600);
        let highest = |quantity, from, to| plan.highest(&samples, quantity, from, to);
        assert!(highest(TEMPERATURE, 0, 8) < 40.0 && highest(SMOKE, 0, 8) < 5.0, "seed {seed}: too early");
        let smoke_or_heat = highest(SMOKE, 8, 30) > 10.0 || highest(TEMPERATURE, 8, 40) > 60.0;
        assert!(smoke_or_heat, "seed {seed}: no fire");
        assert!(highest(TEMPERATURE, 8, 120) > 60.0, "seed {seed}: no heat");
        assert!(highest(SMOKE, 8, 120) > 10.0, "seed {seed}: no smoke");
        assert!(highest(CO, 8, 120) > 100.0, "seed {seed}: no CO");
        assert!(highest(TEMPERATURE, 280, 480) < 40.0, "seed {seed}: never out");
        assert!(highest(SMOKE, 500, 600) > 10.0, "seed {seed}: no second fire");
        // Only near the fire: most rooms stay cool.
        let hot: std::collections::BTreeSet<u16> = plan
            .of(&samples, TEMPERATURE)
            .filter(|sample| sample.mono_ms < 240_000 && sample.value.is_ok_and(|value| value > 60.0))
            .map(|sample| sample.sensor)
            .collect();
        assert!((1..=8).contains(&hot.len()), "seed {seed}: {} of 12 rooms burn", hot.len());
    }
}

#[test]
fn it_rains_then_the_water_rises_and_falls() {
    let plan = Plan::street();
    let samples = plan.run(SEED, 400);
    let rain: f64 = plan.of(&samples, RAIN).filter_map(|sample| sample.value.ok()).sum();
    assert!((3.0..8.0).contains(&rain), "{rain} mm of rain");
    assert_eq!(plan.highest(&samples, RAIN, 0, 10), 0.0, "dry is zero, not a fault");
    assert!(plan.highest(&samples, RAIN, 11, 40) > 0.5);
    assert!(plan.highest(&samples, LEVEL, 0, 30) < 200.0);
    assert!(plan.highest(&samples, LEVEL, 60, 180) > 250.0);
    assert!(plan.highest(&samples, LEVEL, 380, 400) < 200.0);
}

#[test]
fn every_sensor_speaks_each_second_and_in_order() {
    let plan = Plan::street();
    let samples = plan.run(SEED, 60);
    let mut times: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for sample in &samples {
        times.entry(sample.sensor).or_default().push(sample.mono_ms);
    }
    assert_eq!(times.len(), plan.sensors.len(), "somebody is silent");
    for (sensor, times) in times {
        assert!(times.is_sorted(), "sensor {sensor}");
        let quantity = plan.sensors[usize::from(sensor)];
        if ![DOOR, RAIN].contains(&quantity) {
            assert!(
                (60..=61).contains(&times.len()),
                "sensor {sensor} of {quantity}: {} samples",
                times.len()
            );
        }
    }
}

#[test]
fn a_broken_wire_is_a_fault_and_never_a_zero() {
    let plan = Plan::street();
    let samples = plan.run(SEED, 120);
    let loops = |quantity| plan.of(&samples, quantity);
    let broken: Vec<&Sample> =
        loops(SMOKE).chain(loops(CO)).filter(|sample| sample.value == Err(Fault::Sensor)).collect();
    assert!((11..=13).contains(&broken.len()), "{} faults of a wire broken for 12 s", broken.len());
    let sensor = broken[0].sensor;
    assert!(
        broken.iter().all(|sample| sample.sensor == sensor && (90_000..103_000).contains(&sample.mono_ms))
    );
    let after = samples.iter().rfind(|sample| sample.sensor == sensor).unwrap();
    assert!(after.value.is_ok(), "mended");
}

#[test]
fn values_have_the_decimals_of_their_chip() {
    let plan = Plan::street();
    let samples = plan.run(SEED, 60);
    for (quantity, digits) in
        [(TEMPERATURE, 2), (HUMIDITY, 2), (SMOKE, 2), (CO, 1), (LEVEL, 0), (RAIN, 1), (DOOR, 0)]
    {
        let power = 10_f64.powi(digits);
        for value in plan.of(&samples, quantity).filter_map(|sample| sample.value.ok()) {
            assert_eq!((value * power).round() / power, value, "quantity {quantity}");
        }
    }
}

#[test]
fn a_faster_street_burns_sooner() {
    let plan = Plan::street();
    let mut buses = open(&Board::Simulated { seed: SEED, speed: 10.0, calm_s: 0.0 }, &plan.devices).unwrap();
    let mut samples = Vec::new();
    for bus in &mut buses {
        while bus.next_due_ms() <= 5_000 {
            let now_ms = bus.next_due_ms();
            bus.poll(now_ms, &mut samples);
        }
    }
    assert!(plan.highest(&samples, TEMPERATURE, 0, 5) > 60.0);
}

#[test]
fn four_loops_share_one_converter_in_turn() {
    let mut plan = Plan::default();
    let adc =
        |channel| Chip::Ads1115Loop { address: 0x4b, channel, shunt_ohm: 250.0, at_4ma: 0.0, at_20ma: 10.0 };
    for channel in 0..4 {
        plan.device("i2c", adc(channel), 100, &[("value", 9_999)]);
    }
    let samples = plan.run(SEED, 10);
    for sensor in 0..4 {
        let values: Vec<f64> = samples
            .iter()
            .filter(|s| s.sensor == sensor && s.mono_ms < 9_000)
            .map(|s| s.value.unwrap())
            .collect();
        assert!((88..=91).contains(&values.len()), "channel {sensor}: {}", values.len());
        assert!(
            values.iter().all(|value| (value - 5.0).abs() <= 0.002),
            "an unknown quantity rests in the middle"
        );
    }
}
