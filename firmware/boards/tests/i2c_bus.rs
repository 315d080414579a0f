//! The I²C poller on a bus that misbehaves.
#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use boards::i2c::I2cBus;
use boards::plan::plan;
use boards::port::{Port, REOPEN_AFTER};
use boards::{Bus, Chip, DeviceSpec, Fault, Output};
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use wire::QuantityCode;

/// 25.00 °C and 56.50 %.
const CLIMATE: [u8; 6] = [0x66, 0x66, 0x93, 0x7f, 0xff, 0x8f];

/// A bus with an SHT4x at 0x44, one whose answers are disturbed at 0x45, and an ADS1115 at 0x48 that was reset.
#[derive(Clone, Default)]
struct Wires {
    stuck: Arc<AtomicBool>,
    opened: Arc<AtomicU32>,
}

impl Port for Wires {
    type Open = Wires;
    fn open(&mut self) -> Result<Wires, String> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(self.clone())
    }
}

impl ErrorType for Wires {
    type Error = ErrorKind;
}

impl I2c for Wires {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(ErrorKind::Bus);
        }
        let answer: &[u8] = match address {
            0x44 => &CLIMATE,
            0x45 => &[0; 6],
            0x48 => &[0x85, 0x83],
            _ => return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)),
        };
        for operation in operations {
            if let Operation::Read(into) = operation {
                into.copy_from_slice(answer);
            }
        }
        Ok(())
    }
}

/// A bus with these chips, each read every second; every output gets the next sensor number.
fn bus(wires: &Wires, chips: &[(Chip, &[&str])]) -> I2cBus<Wires> {
    let mut sensor = 0;
    let mut devices = Vec::new();
    for (chip, outputs) in chips {
        let outputs = outputs.iter().map(|output| {
            sensor += 1;
            Output { output: (*output).into(), sensor: sensor - 1, quantity: QuantityCode(1) }
        });
        let outputs = outputs.collect();
        let name = format!("device-{}", devices.len());
        devices.push(DeviceSpec { name, chip: chip.clone(), bus: "i2c".into(), every_ms: 1_000, outputs });
    }
    I2cBus::new(&plan(&devices).unwrap()[0], wires.clone()).unwrap()
}

/// What each sensor said in the second from `from_ms`, by number.
fn second(bus: &mut impl Bus, from_ms: u64) -> Vec<Result<f64, Fault>> {
    let mut samples = Vec::new();
    while bus.next_due_ms() < from_ms + 1_000 {
        bus.poll(bus.next_due_ms().max(from_ms), &mut samples);
    }
    samples.sort_by_key(|sample| sample.sensor);
    samples.into_iter().map(|sample| sample.value).collect()
}

const SHT: Chip = Chip::Sht4x { address: 0x44 };
const DISTURBED: Chip = Chip::Sht4x { address: 0x45 };
const ABSENT: Chip = Chip::Sht4x { address: 0x46 };
const RESET: Chip =
    Chip::Ads1115Loop { address: 0x48, channel: 0, shunt_ohm: 100.0, at_4ma: 0.0, at_20ma: 100.0 };

#[test]
fn each_trouble_is_its_own_fault_and_the_neighbour_does_not_care() {
    let wires = Wires::default();
    let mut bus = bus(
        &wires,
        &[
            (SHT, &["temperature", "humidity"]),
            (DISTURBED, &["temperature"]),
            (ABSENT, &["humidity"]),
            (RESET, &["value"]),
        ],
    );
    for time in 0..20 {
        assert_eq!(
            second(&mut bus, time * 1_000),
            [Ok(25.0), Ok(56.5), Err(Fault::Checksum), Err(Fault::Bus), Err(Fault::Sensor)]
        );
    }
    assert_eq!(wires.opened.load(Ordering::Relaxed), 1, "one absent chip is no reason to open the bus again");
    assert_eq!(bus.recoveries(), 0);
}

#[test]
fn a_stuck_bus_is_opened_again_and_counted() {
    let wires = Wires::default();
    let mut bus = bus(&wires, &[(SHT, &["temperature"])]);
    assert_eq!(second(&mut bus, 0), [Ok(25.0)]);
    wires.stuck.store(true, Ordering::Relaxed);
    for time in 1..=u64::from(REOPEN_AFTER) {
        assert_eq!(second(&mut bus, time * 1_000), [Err(Fault::Bus)], "second {time}");
    }
    wires.stuck.store(false, Ordering::Relaxed);
    let time = u64::from(REOPEN_AFTER) + 2;
    assert_eq!(second(&mut bus, time * 1_000), [Ok(25.0)]);
    assert_eq!((bus.recoveries(), wires.opened.load(Ordering::Relaxed)), (1, 2));
}

#[test]
fn a_late_thread_reads_once_and_not_once_for_each_second_missed() {
    let wires = Wires::default();
    let mut bus = bus(&wires, &[(SHT, &["temperature"])]);
    second(&mut bus, 0);
    assert_eq!(second(&mut bus, 60_000), [Ok(25.0)]);
}

#[test]
fn nothing_waits_inside_a_poll() {
    let wires = Wires::default();
    let mut bus = bus(&wires, &[(SHT, &["temperature"])]);
    let mut samples = Vec::new();
    bus.poll(0, &mut samples);
    assert!(samples.is_empty(), "started");
    assert_eq!(bus.next_due_ms(), 10, "8.3 ms rounded up, and one for the clock");
    bus.poll(9, &mut samples);
    assert!(samples.is_empty(), "too early");
    bus.poll(10, &mut samples);
    assert_eq!(samples.len(), 1);
}
