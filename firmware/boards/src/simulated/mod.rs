//! A seeded street at register and byte level: the drivers of the real boards run against it unmodified.
//!
//! # Layout
//! - `world`: what is true in the street at a time, a pure function of the seed
//! - `street`: which device stands where, where fires break out, whose wire breaks
//! - `i2c`: chips on a bus that answer to commands and registers, with checksums and conversion times
//! - `uart`: a level sensor that talks over a serial line, with noise between its frames
//! - `gpio`: contacts that bounce and buckets that tip
//! - `noise`: numbers that look random and are the same every time
//!
//! What is not simulated: clock stretching, arbitration, electrical levels, a chip's drift.

mod gpio;
mod i2c;
mod noise;
mod street;
mod uart;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Group;
use crate::{Bus, Link, OpenError};
use street::Street;

/// The time as the poller of a bus last said, shared with what hangs on that bus.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens the street of `seed` with the devices of `groups`, `speed` simulated seconds a second, the first `calm_s`
/// of them without fire and flood.
pub(crate) fn open(
    seed: u64,
    speed: f64,
    calm_s: f64,
    groups: &[Group],
) -> Result<Vec<Box<dyn Bus>>, Vec<OpenError>> {
    let street = Arc::new(Street::new(seed, speed, calm_s, groups.iter().flat_map(|group| &group.devices)));
    let mut buses: Vec<Box<dyn Bus>> = Vec::new();
    let mut problems = Vec::new();
    for group in groups {
        let bus = match group.link {
            Link::I2c => {
                crate::i2c::I2cBus::new(group, i2c::SimulatedI2cPort::new(&street, group)).map(boxed)
            }
            Link::Uart => {
                crate::uart::UartBus::new(group, uart::SimulatedSerialPort::new(&street, group)).map(boxed)
            }
            Link::Gpio => {
                crate::gpio::GpioBus::new(group, gpio::SimulatedPinsPort::new(&street, group)).map(boxed)
            }
            Link::Kernel => Ok(crate::linux::bus(group)),
        };
        match bus {
            Ok(bus) => buses.push(bus),
            Err(why) => problems.push(OpenError::Bus { bus: group.bus.clone(), why }),
        }
    }
    if problems.is_empty() { Ok(buses) } else { Err(problems) }
}

fn boxed<B: Bus + 'static>(bus: B) -> Box<dyn Bus> {
    Box::new(bus)
}
