//! Chips on a simulated I²C bus. They answer to the bytes a driver sends, and to nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use drivers::ads1115::{Input, Range};
use drivers::crc8::crc8;
use drivers::current_loop::Scale;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::Clock;
use super::noise::mix;
use super::street::{Street, quantity};
use super::world::Spot;
use crate::plan::Group;
use crate::port::Port;
use crate::{Chip, DeviceSpec};

/// One in so many SHT4x answers has a bit turned on the wire.
const BIT_ERROR_IN: u64 = 2_000;

/// Opens the simulated bus of one group.
pub(crate) struct SimulatedI2cPort {
    street: Arc<Street>,
    devices: Vec<DeviceSpec>,
    clock: Clock,
}

impl SimulatedI2cPort {
    pub(crate) fn new(street: &Arc<Street>, group: &Group) -> Self {
        Self { street: Arc::clone(street), devices: group.devices.clone(), clock: Clock::default() }
    }
}

impl Port for SimulatedI2cPort {
    type Open = SimulatedI2c;

    fn open(&mut self) -> Result<SimulatedI2c, String> {
        let mut sht4x = BTreeMap::new();
        let mut ads1115: BTreeMap<u8, Ads1115> = BTreeMap::new();
        for device in &self.devices {
            match device.chip {
                Chip::Sht4x { address } => {
                    sht4x.insert(address, Sht4x::new(&self.street, device));
                }
                Chip::Ads1115Loop { address, channel, shunt_ohm, at_4ma, at_20ma } => {
                    let chip = ads1115.entry(address).or_default();
                    if let Some(input) = chip.inputs.get_mut(usize::from(channel)) {
                        *input = Some(Wired {
                            device: device.name.clone(),
                            spot: self.street.spot(&device.name),
                            quantity: quantity(device, "value", 0),
                            shunt_ohm,
                            scale: Scale::new(at_4ma, at_20ma),
                            middle: (at_4ma + at_20ma) / 2.0,
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(SimulatedI2c { street: Arc::clone(&self.street), clock: self.clock.clone(), sht4x, ads1115 })
    }

    fn at(&mut self, now_ms: u64) {
        self.clock.set(now_ms);
    }
}

/// The bus, with its chips by address.
pub(crate) struct SimulatedI2c {
    street: Arc<Street>,
    clock: Clock,
    sht4x: BTreeMap<u8, Sht4x>,
    ads1115: BTreeMap<u8, Ads1115>,
}

/// What comes back from the wire when a chip does not pull it down.
fn refused(source: NoAcknowledgeSource) -> ErrorKind {
    ErrorKind::NoAcknowledge(source)
}

impl ErrorType for SimulatedI2c {
    type Error = ErrorKind;
}

impl I2c for SimulatedI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let now_ms = self.clock.now_ms();
        for operation in operations {
            if let Some(chip) = self.sht4x.get_mut(&address) {
                match operation {
                    Operation::Write(bytes) => chip.write(bytes, &self.street, now_ms)?,
                    Operation::Read(into) => chip.read(into, now_ms)?,
                }
            } else if let Some(chip) = self.ads1115.get_mut(&address) {
                match operation {
                    Operation::Write(bytes) => chip.write(bytes, &self.street, now_ms)?,
                    Operation::Read(into) => chip.read(into, now_ms),
                }
            } else {
                return Err(refused(NoAcknowledgeSource::Address));
            }
        }
        Ok(())
    }
}

/// An SHT4x: one command byte starts something, one read fetches it, too early is not acknowledged.
struct Sht4x {
    spot: Spot,
    temperature: u16,
    humidity: u16,
    pending: Option<(u64, [u16; 2])>,
    answers: u64,
}

impl Sht4x {
    fn new(street: &Street, device: &DeviceSpec) -> Self {
        Self {
            spot: street.spot(&device.name),
            temperature: quantity(device, "temperature", 1),
            humidity: quantity(device, "humidity", 2),
            pending: None,
            answers: 0,
        }
    }

    fn write(&mut self, bytes: &[u8], street: &Street, now_ms: u64) -> Result<(), ErrorKind> {
        let &[command] = bytes else { return Err(refused(NoAcknowledgeSource::Data)) };
        let duration_ms = match command {
            0xfd => 9,
            0xf6 => 5,
            0xe0 => 2,
            0x89 => {
                let serial = mix(self.spot.salt) as u32;
                self.pending = Some((now_ms, [(serial >> 16) as u16, serial as u16]));
                return Ok(());
            }
            0x94 => {
                self.pending = None;
                return Ok(());
            }
            _ => return Err(refused(NoAcknowledgeSource::Data)),
        };
        let at = street.seconds(now_ms + duration_ms);
        let value = |code, usual| street.world.value(code, &self.spot, at).unwrap_or(usual);
        let ticks = |share: f64| (share * 65_535.0).round().clamp(0.0, 65_535.0) as u16;
        let temperature = ticks((value(self.temperature, 20.0) + 45.0) / 175.0);
        let humidity = ticks((value(self.humidity, 50.0) + 6.0) / 125.0);
        self.pending = Some((now_ms + duration_ms, [temperature, humidity]));
        Ok(())
    }

    fn read(&mut self, into: &mut [u8], now_ms: u64) -> Result<(), ErrorKind> {
        let Some((_, [first, second])) = self.pending.take_if(|(ready_ms, _)| *ready_ms <= now_ms) else {
            return Err(refused(NoAcknowledgeSource::Address));
        };
        let (first, second) = (first.to_be_bytes(), second.to_be_bytes());
        let mut answer = [first[0], first[1], crc8(&first), second[0], second[1], crc8(&second)];
        self.answers += 1;
        let dice = mix(self.spot.salt ^ self.answers);
        if dice.is_multiple_of(BIT_ERROR_IN) {
            answer[0] ^= 1 << ((dice >> 32) % 8);
        }
        // Whoever reads on after the last byte reads the idle wire.
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = answer.get(index).copied().unwrap_or(0xff);
        }
        Ok(())
    }
}

/// A 4–20 mA transmitter on an input.
struct Wired {
    device: String,
    spot: Spot,
    quantity: u16,
    shunt_ohm: f64,
    scale: Scale,
    /// Shown for a quantity that the street does not have.
    middle: f64,
}

impl Wired {
    fn volts(&self, street: &Street, t_s: f64) -> f64 {
        if street.is_broken(&self.device, t_s) {
            return 0.0;
        }
        let value = street.world.value(self.quantity, &self.spot, t_s).unwrap_or(self.middle);
        self.scale.nanoamps(value) as f64 * 1e-9 * self.shunt_ohm
    }
}

/// An ADS1115: an address pointer and its registers.
struct Ads1115 {
    inputs: [Option<Wired>; 4],
    pointer: u8,
    config: u16,
    conversion: i16,
    thresholds: [u16; 2],
    /// The conversion that runs: when it ends, and its result.
    running: Option<(u64, i16)>,
}

impl Default for Ads1115 {
    fn default() -> Self {
        Self {
            inputs: [const { None }; 4],
            pointer: 0,
            config: 0x8583,
            conversion: 0,
            thresholds: [0x8000, 0x7fff],
            running: None,
        }
    }
}

impl Ads1115 {
    fn write(&mut self, bytes: &[u8], street: &Street, now_ms: u64) -> Result<(), ErrorKind> {
        let Some((&pointer, data)) = bytes.split_first() else { return Ok(()) };
        self.pointer = pointer & 0b11;
        let &[high, low] = data else {
            return if data.is_empty() { Ok(()) } else { Err(refused(NoAcknowledgeSource::Data)) };
        };
        let value = u16::from_be_bytes([high, low]);
        match self.pointer {
            1 => {
                self.config = value;
                if value & 0x8000 != 0 {
                    self.convert(street, now_ms);
                }
            }
            2 => self.thresholds[0] = value,
            3 => self.thresholds[1] = value,
            _ => {}
        }
        Ok(())
    }

    fn convert(&mut self, street: &Street, now_ms: u64) {
        let per_second = [8, 16, 32, 64, 128, 250, 475, 860][usize::from(self.config >> 5 & 0b111)];
        let ready_ms = now_ms + 1_000_u64.div_ceil(per_second);
        let volts = |input: Input| {
            let wired = self.inputs[input as usize].as_ref();
            wired.map_or(0.0, |wired| wired.volts(street, street.seconds(ready_ms)))
        };
        let (plus, minus) = match self.config >> 12 & 0b111 {
            0 => (volts(Input::A0), volts(Input::A1)),
            1 => (volts(Input::A0), volts(Input::A3)),
            2 => (volts(Input::A1), volts(Input::A3)),
            3 => (volts(Input::A2), volts(Input::A3)),
            4 => (volts(Input::A0), 0.0),
            5 => (volts(Input::A1), 0.0),
            6 => (volts(Input::A2), 0.0),
            _ => (volts(Input::A3), 0.0),
        };
        let range = Range::ALL[usize::from(self.config >> 9 & 0b111).min(Range::ALL.len() - 1)];
        let code = (plus - minus) * 1e6 / range.full_scale_uv() as f64 * 32_768.0;
        self.running = Some((ready_ms, code.round().clamp(-32_768.0, 32_767.0) as i16));
    }

    fn read(&mut self, into: &mut [u8], now_ms: u64) {
        if let Some((_, code)) = self.running.take_if(|(ready_ms, _)| *ready_ms <= now_ms) {
            self.conversion = code;
        }
        let value = match self.pointer {
            0 => self.conversion as u16,
            1 if self.running.is_some() => self.config & 0x7fff,
            1 => self.config | 0x8000,
            2 => self.thresholds[0],
            _ => self.thresholds[1],
        };
        for (byte, register) in into.iter_mut().zip(value.to_be_bytes()) {
            *byte = register;
        }
    }
}
