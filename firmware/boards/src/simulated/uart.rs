//! An A02YYUW on a simulated serial line: a frame each 100 ms, and now and then a byte of noise.

use std::collections::VecDeque;
use std::sync::Arc;

use drivers::a02yyuw::frame;

use super::Clock;
use super::noise::mix;
use super::street::{Street, quantity};
use super::world::Spot;
use crate::plan::Group;
use crate::port::Port;
use crate::uart::ByteSource;
use crate::{Chip, DeviceSpec};

/// The sensor speaks so often.
const FRAME_EVERY_MS: u64 = 100;
/// Bytes the kernel keeps for a reader who is late; older ones are lost.
const KEPT_BYTES: usize = 4_096;
/// Height over the bottom when the configuration does not give one, in mm.
const USUAL_HEIGHT_MM: f64 = 2_000.0;
/// One in so many frames has a byte of noise before it.
const NOISE_IN: u64 = 40;
/// One in so many frames is disturbed itself.
const DISTURBED_IN: u64 = 150;
/// Code of `water-level`.
const WATER_LEVEL: u16 = 100;

/// Opens the line of one group.
pub(crate) struct SimulatedSerialPort {
    street: Arc<Street>,
    device: Option<DeviceSpec>,
    clock: Clock,
}

impl SimulatedSerialPort {
    pub(crate) fn new(street: &Arc<Street>, group: &Group) -> Self {
        let device = group.devices.iter().find(|device| matches!(device.chip, Chip::A02yyuw { .. })).cloned();
        Self { street: Arc::clone(street), device, clock: Clock::default() }
    }
}

impl Port for SimulatedSerialPort {
    type Open = SimulatedSerial;

    fn open(&mut self) -> Result<SimulatedSerial, String> {
        let device = self.device.as_ref().ok_or("nothing hangs on this line")?;
        let Chip::A02yyuw { mounted_mm } = device.chip else {
            return Err("nothing hangs on this line".into());
        };
        Ok(SimulatedSerial {
            street: Arc::clone(&self.street),
            clock: self.clock.clone(),
            spot: self.street.spot(&device.name),
            quantity: quantity(device, "level", quantity(device, "distance", WATER_LEVEL)),
            height_mm: mounted_mm.unwrap_or(USUAL_HEIGHT_MM),
            next_ms: self.clock.now_ms(),
            line: VecDeque::new(),
        })
    }

    fn at(&mut self, now_ms: u64) {
        self.clock.set(now_ms);
    }
}

/// The line, and the sensor at its other end.
pub(crate) struct SimulatedSerial {
    street: Arc<Street>,
    clock: Clock,
    spot: Spot,
    quantity: u16,
    height_mm: f64,
    /// When the sensor speaks next.
    next_ms: u64,
    line: VecDeque<u8>,
}

impl SimulatedSerial {
    fn speak(&mut self, at_ms: u64) {
        let t_s = self.street.seconds(at_ms);
        let level = self.street.world.value(WATER_LEVEL, &self.spot, t_s).unwrap_or_default();
        let distance = match self.quantity {
            WATER_LEVEL | 101 => self.height_mm - level,
            other => self.street.world.value(other, &self.spot, t_s).unwrap_or(self.height_mm - level),
        };
        let mut bytes = frame(distance.round().clamp(0.0, 9_999.0) as u16);
        let dice = mix(self.spot.salt ^ at_ms);
        if dice.is_multiple_of(NOISE_IN) {
            self.line.push_back((dice >> 40) as u8);
        }
        if (dice >> 16).is_multiple_of(DISTURBED_IN) {
            bytes[2] ^= 0x10;
        }
        self.line.extend(bytes);
        while self.line.len() > KEPT_BYTES {
            self.line.pop_front();
        }
    }
}

impl ByteSource for SimulatedSerial {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, String> {
        let now_ms = self.clock.now_ms();
        // What a late reader would lose anyway is not even said.
        let kept_ms = KEPT_BYTES as u64 / 4 * FRAME_EVERY_MS;
        if now_ms.saturating_sub(self.next_ms) > kept_ms {
            self.next_ms = (now_ms - kept_ms).next_multiple_of(FRAME_EVERY_MS);
        }
        while self.next_ms <= now_ms {
            self.speak(self.next_ms);
            self.next_ms += FRAME_EVERY_MS;
        }
        let count = into.len().min(self.line.len());
        for (byte, said) in into.iter_mut().zip(self.line.drain(..count)) {
            *byte = said;
        }
        Ok(count)
    }
}
