//! An I²C bus: starts what is due, and comes back for it when the conversion is over. Nothing waits here.
//!
//! The same poller serves a Raspberry Pi's bus and the simulated one: it knows only `embedded_hal::i2c::I2c`.

use drivers::ads1115::{self, Ads1115, ads1115};
use drivers::current_loop::{self, Scale};
use drivers::sht4x::{self, Repeatability, Sht4x, sht4x};
use embedded_hal::i2c::I2c;

use crate::plan::{Group, LOOP_MOST_MA};
use crate::port::{Port, Recovering};
use crate::schedule::next_due;
use crate::{Bus, Chip, DeviceSpec, Fault, Sample};

/// A loop is converted at 128 a second: 8 ms, and the chip's noise stays under one step.
const RATE: ads1115::DataRate = ads1115::DataRate::Sps128;
/// A conversion that is not over after so many times its longest duration never will be.
const PATIENCE: u64 = 5;

/// The outputs of one device: the name of each and the sensor's number.
type Outputs = Vec<(String, u16)>;

/// What a device is, with the settings of its driver.
enum Part {
    Sht4x { address: sht4x::Address },
    Loop { address: ads1115::Address, config: ads1115::Config, shunt_milliohm: u32, scale: Scale },
}

impl Part {
    fn of(device: &DeviceSpec) -> Option<Self> {
        match device.chip {
            Chip::Sht4x { address } => Some(Part::Sht4x { address: sht4x::Address::new(address)? }),
            Chip::Ads1115Loop { address, channel, shunt_ohm, at_4ma, at_20ma } => Some(Part::Loop {
                address: ads1115::Address::new(address)?,
                config: ads1115::Config {
                    input: ads1115::Input::new(channel)?,
                    range: ads1115::Range::reaching((shunt_ohm * LOOP_MOST_MA * 1_000.0) as i64)?,
                    rate: RATE,
                },
                shunt_milliohm: (shunt_ohm * 1_000.0).round() as u32,
                scale: Scale::new(at_4ma, at_20ma),
            }),
            _ => None,
        }
    }

    fn address(&self) -> u8 {
        match self {
            Part::Sht4x { address } => *address as u8,
            Part::Loop { address, .. } => *address as u8,
        }
    }

    /// Longest conversion in milliseconds, rounded up and one more, since the clock may be about to tick.
    fn duration_ms(&self) -> u64 {
        let us = match self {
            Part::Sht4x { .. } => Repeatability::High.duration_us(),
            Part::Loop { .. } => RATE.duration_us(),
        };
        u64::from(us).div_ceil(1_000) + 1
    }
}

/// What happens on the bus because of a device.
enum Phase {
    Idle,
    Converting { ready_ms: u64, give_up_ms: u64 },
}

struct Device {
    name: String,
    part: Part,
    outputs: Outputs,
    every_ms: u64,
    due_ms: u64,
    phase: Phase,
    /// Whether the last reading failed: a failure is logged when it begins, not each second.
    failing: bool,
}

/// What the driver gave: a name and value for each output, not yet there, or why not.
enum Read {
    Values([Option<(&'static str, f64)>; 2]),
    Busy,
    Failed { fault: Fault, why: String, answered: bool },
}

impl Device {
    fn start<I: I2c>(&self, i2c: &mut I) -> Result<(), String> {
        match &self.part {
            Part::Sht4x { address } => {
                sht4x(i2c, *address).start(Repeatability::High).map_err(|e| e.to_string())
            }
            Part::Loop { address, config, .. } => {
                ads1115(i2c, *address).start(*config).map_err(|e| e.to_string())
            }
        }
    }

    fn read<I: I2c>(&self, i2c: &mut I) -> Read {
        match &self.part {
            Part::Sht4x { address } => read_sht4x(sht4x(i2c, *address)),
            Part::Loop { address, config, shunt_milliohm, scale } => {
                read_loop(ads1115(i2c, *address), *config, *shunt_milliohm, scale)
            }
        }
    }

    fn begin(&mut self, now_ms: u64) {
        let duration = self.part.duration_ms();
        self.phase =
            Phase::Converting { ready_ms: now_ms + duration, give_up_ms: now_ms + duration * PATIENCE };
    }

    fn succeed(&mut self, values: &[Option<(&'static str, f64)>], now_ms: u64, samples: &mut Vec<Sample>) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(device = self.name, "device answers again");
        }
        self.phase = Phase::Idle;
        for (output, value) in values.iter().flatten() {
            let wanted = self.outputs.iter().filter(|(name, _)| name == output);
            samples.extend(wanted.map(|&(_, sensor)| Sample { sensor, mono_ms: now_ms, value: Ok(*value) }));
        }
    }

    fn fail(&mut self, fault: Fault, why: &str, now_ms: u64, samples: &mut Vec<Sample>) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(device = self.name, %fault, why, "device gave no value");
        }
        self.phase = Phase::Idle;
        let outputs = self.outputs.iter();
        samples.extend(outputs.map(|&(_, sensor)| Sample { sensor, mono_ms: now_ms, value: Err(fault) }));
    }
}

fn read_sht4x<I: I2c>(mut chip: Sht4x<I>) -> Read {
    match chip.read() {
        Ok(measured) => Read::Values([
            Some(("temperature", f64::from(measured.temperature_centi_celsius) / 100.0)),
            Some(("humidity", f64::from(measured.humidity_centi_percent) / 100.0)),
        ]),
        Err(error) => {
            let fault = match error {
                sht4x::Error::Bus(_) => Fault::Bus,
                sht4x::Error::Crc { .. } => Fault::Checksum,
            };
            Read::Failed { fault, why: error.to_string(), answered: fault != Fault::Bus }
        }
    }
}

fn read_loop<I: I2c>(
    mut chip: Ads1115<I>,
    config: ads1115::Config,
    shunt_milliohm: u32,
    scale: &Scale,
) -> Read {
    match chip.poll(config) {
        Ok(None) => Read::Busy,
        Ok(Some(code)) => {
            let current = current_loop::nanoamps(config.range.nanovolts(code), shunt_milliohm);
            match scale.value(current) {
                Ok(value) => Read::Values([Some(("value", value)), None]),
                Err(error) => Read::Failed { fault: Fault::Sensor, why: error.to_string(), answered: true },
            }
        }
        Err(error) => {
            let answered = matches!(error, ads1115::Error::Config { .. });
            let fault = if answered { Fault::Sensor } else { Fault::Bus };
            Read::Failed { fault, why: error.to_string(), answered }
        }
    }
}

/// One I²C bus with all its devices.
pub struct I2cBus<P: Port> {
    name: String,
    link: Recovering<P>,
    devices: Vec<Device>,
}

impl<P: Port> I2cBus<P>
where
    P::Open: I2c,
{
    /// Opens the bus of `group` through `port`. Devices that are not on I²C are left out: [`crate::plan`] put none
    /// there.
    ///
    /// # Errors
    /// The port's own.
    pub fn new(group: &Group, port: P) -> Result<Self, String> {
        let device = |device: &DeviceSpec| {
            Some(Device {
                name: device.name.clone(),
                part: Part::of(device)?,
                outputs: device.outputs.iter().map(|output| (output.output.clone(), output.sensor)).collect(),
                every_ms: device.every_ms,
                due_ms: 0,
                phase: Phase::Idle,
                failing: false,
            })
        };
        let devices = group.devices.iter().filter_map(device).collect();
        Ok(Self { name: group.bus.clone(), link: Recovering::new(port)?, devices })
    }

    /// Reads the conversions that are over.
    fn collect(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        for device in &mut self.devices {
            let Phase::Converting { ready_ms, give_up_ms } = device.phase else { continue };
            if now_ms < ready_ms {
                continue;
            }
            let Some(i2c) = self.link.get(now_ms) else {
                device.fail(Fault::Bus, "the bus is closed after failures", now_ms, samples);
                continue;
            };
            match device.read(i2c) {
                Read::Values(values) => {
                    self.link.worked();
                    device.succeed(&values, now_ms, samples);
                }
                Read::Busy if now_ms < give_up_ms => {
                    device.phase = Phase::Converting { ready_ms: now_ms + 1, give_up_ms };
                }
                Read::Busy => {
                    self.link.worked();
                    device.fail(Fault::Silent, "the conversion never ended", now_ms, samples);
                }
                Read::Failed { fault, why, answered } => {
                    if answered {
                        self.link.worked()
                    } else {
                        self.link.failed(now_ms)
                    }
                    device.fail(fault, &why, now_ms, samples);
                }
            }
        }
    }

    /// Starts what is due, the longest overdue first, one conversion at a time on each chip.
    fn start(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        let mut order: Vec<usize> = (0..self.devices.len()).filter(|&i| self.waits(i, now_ms)).collect();
        order.sort_by_key(|&i| self.devices[i].due_ms);
        for index in order {
            if self.is_busy(self.devices[index].part.address()) {
                continue;
            }
            let device = &mut self.devices[index];
            device.due_ms = next_due(device.due_ms, device.every_ms, now_ms);
            let Some(i2c) = self.link.get(now_ms) else {
                device.fail(Fault::Bus, "the bus is closed after failures", now_ms, samples);
                continue;
            };
            match device.start(i2c) {
                Ok(()) => device.begin(now_ms),
                Err(why) => {
                    self.link.failed(now_ms);
                    device.fail(Fault::Bus, &why, now_ms, samples);
                }
            }
        }
    }

    fn waits(&self, index: usize, now_ms: u64) -> bool {
        let device = &self.devices[index];
        matches!(device.phase, Phase::Idle) && device.due_ms <= now_ms
    }

    fn is_busy(&self, address: u8) -> bool {
        let converts = |device: &Device| matches!(device.phase, Phase::Converting { .. });
        self.devices.iter().any(|device| device.part.address() == address && converts(device))
    }
}

impl<P: Port> Bus for I2cBus<P>
where
    P::Open: I2c,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn next_due_ms(&self) -> u64 {
        let due = |device: &Device| match device.phase {
            Phase::Converting { ready_ms, .. } => Some(ready_ms),
            // It waits for another conversion on the same chip, which is in the list with its own time.
            Phase::Idle if self.is_busy(device.part.address()) => None,
            Phase::Idle => Some(device.due_ms),
        };
        self.devices.iter().filter_map(due).min().unwrap_or(u64::MAX)
    }

    fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        self.collect(now_ms, samples);
        self.start(now_ms, samples);
    }

    fn recoveries(&self) -> u64 {
        self.link.recoveries()
    }
}
