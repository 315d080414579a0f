//! A Raspberry Pi: I²C, serial line and pins through rppal, which is named in this file only.
//!
//! rppal is retired (last boards: Pi 5), so nothing else may know it: `Port`, `ByteSource` and `Pins` are the seam by
//! which the kernel's own interfaces can replace it.

use std::convert::Infallible;
use std::time::Duration;

use embedded_hal::digital;
use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c as HalI2c, NoAcknowledgeSource, Operation};
use rppal::gpio::{Gpio, InputPin, OutputPin, Trigger};
use rppal::i2c::I2c;
use rppal::uart::{Parity, Uart};

use crate::gpio::{Edge, GpioBus, MOST_EDGES, Pins};
use crate::i2c::I2cBus;
use crate::plan::Group;
use crate::port::Port;
use crate::seal::pins::Wiring;
use crate::uart::{ByteSource, UartBus};
use crate::{Bus, Chip, Link, OpenError};

/// Opens every bus of the Pi.
pub(crate) fn open(groups: &[Group]) -> Result<Vec<Box<dyn Bus>>, Vec<OpenError>> {
    let mut buses: Vec<Box<dyn Bus>> = Vec::new();
    let mut problems = Vec::new();
    let mut pins_on: Option<&str> = None;
    for group in groups {
        let opened = match group.link {
            Link::I2c => i2c(group).map(boxed),
            Link::Uart => UartBus::new(group, SerialPort { path: group.bus.clone() }).map(boxed),
            Link::Gpio => match pins_on.replace(&group.bus) {
                Some(other) => Err(format!("all pins of a Pi are one bus: call it {other:?} here too")),
                None => GpioBus::new(group, PinsPort { pins: pins(group) }).map(boxed),
            },
            Link::Kernel => Ok(crate::linux::bus(group)),
        };
        match opened {
            Ok(bus) => buses.push(bus),
            Err(why) => problems.push(OpenError::Bus { bus: group.bus.clone(), why }),
        }
    }
    if problems.is_empty() { Ok(buses) } else { Err(problems) }
}

/// Opens the pins of a seal. rppal keeps one edge for each pin that another thread than its own came across, so an edge
/// followed by another within [`FEEL_EVERY_MS`](crate::seal::FEEL_EVERY_MS) can be lost: that is a bounce, and levels
/// are read besides. A pin that another bus has is refused.
pub(crate) fn open_seal(
    wiring: &Wiring,
) -> Result<(impl Pins + use<>, impl digital::OutputPin + Send + use<>), String> {
    let inputs = PinsPort { pins: wiring.inputs() }.open()?;
    let lock = inputs.gpio.get(wiring.lock.pin).map_err(|error| format!("{error}; {PINS_ADVICE}"))?;
    // The level comes before the direction: it never opens by being configured.
    let lock = if wiring.lock.active_low { lock.into_output_high() } else { lock.into_output_low() };
    Ok((inputs, PiOutput(lock)))
}

/// rppal's own embedded-hal face of a pin comes with that of its buses, see [`RepeatedStart`].
struct PiOutput(OutputPin);

impl digital::ErrorType for PiOutput {
    type Error = Infallible;
}

impl digital::OutputPin for PiOutput {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set_low();
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set_high();
        Ok(())
    }
}

fn boxed<B: Bus + 'static>(bus: B) -> Box<dyn Bus> {
    Box::new(bus)
}

fn i2c(group: &Group) -> Result<I2cBus<I2cPort>, String> {
    let number = group.bus.strip_prefix("/dev/i2c-").and_then(|number| number.parse().ok());
    let number = number.ok_or("an I2C bus of a Pi is called /dev/i2c-N, usually /dev/i2c-1")?;
    I2cBus::new(group, I2cPort { number })
}

fn pins(group: &Group) -> Vec<u8> {
    let pin = |chip: &Chip| match chip {
        Chip::Contact { pin, .. } | Chip::RainGauge { pin, .. } => Some(*pin),
        _ => None,
    };
    group.devices.iter().filter_map(|device| pin(&device.chip)).collect()
}

struct I2cPort {
    number: u8,
}

impl Port for I2cPort {
    type Open = RepeatedStart;

    fn open(&mut self) -> Result<RepeatedStart, String> {
        let advice = "switch I2C on with raspi-config, and let the gateway's user into the group i2c";
        I2c::with_bus(self.number).map(RepeatedStart).map_err(|error| format!("{error}; {advice}"))
    }
}

/// rppal's own embedded-hal face puts a STOP between a write and the read after it, so that a chip may forget which
/// register was asked for (rppal#171). This one sends the pair as one transfer with a repeated START.
struct RepeatedStart(I2c);

/// An error of rppal, as embedded-hal wants it.
#[derive(Debug)]
struct I2cError(rppal::i2c::Error);

impl Error for I2cError {
    fn kind(&self) -> ErrorKind {
        // ENXIO and EREMOTEIO: how the kernel's I2C drivers say that nobody acknowledged.
        match &self.0 {
            rppal::i2c::Error::Io(error) if matches!(error.raw_os_error(), Some(6 | 121)) => {
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
            }
            _ => ErrorKind::Other,
        }
    }
}

impl ErrorType for RepeatedStart {
    type Error = I2cError;
}

impl HalI2c for RepeatedStart {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2cError> {
        self.0.set_slave_address(address.into()).map_err(I2cError)?;
        if let [Operation::Write(bytes), Operation::Read(into)] = operations {
            return self.0.write_read(bytes, into).map_err(I2cError);
        }
        for operation in operations {
            let (wanted, done) = match operation {
                Operation::Write(bytes) => (bytes.len(), self.0.write(bytes)),
                Operation::Read(into) => (into.len(), self.0.read(into)),
            };
            if done.map_err(I2cError)? != wanted {
                return Err(I2cError(rppal::i2c::Error::Io(std::io::ErrorKind::UnexpectedEof.into())));
            }
        }
        Ok(())
    }
}

struct SerialPort {
    path: String,
}

impl Port for SerialPort {
    type Open = Serial;

    fn open(&mut self) -> Result<Serial, String> {
        let advice = "switch the serial port on and its login shell off with raspi-config, and let the gateway's user \
                      into the group dialout";
        // Reading does not wait: that is rppal's mode after opening.
        Uart::with_path(&self.path, 9_600, Parity::None, 8, 1)
            .map(Serial)
            .map_err(|error| format!("{error}; {advice}"))
    }
}

struct Serial(Uart);

impl ByteSource for Serial {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, String> {
        self.0.read(into).map_err(|error| error.to_string())
    }
}

const PINS_ADVICE: &str =
    "pins need /dev/gpiomem, which Raspberry Pi OS has, and the gateway's user in the group gpio";

struct PinsPort {
    pins: Vec<u8>,
}

impl Port for PinsPort {
    type Open = PiPins;

    fn open(&mut self) -> Result<PiPins, String> {
        let gpio = Gpio::new().map_err(|error| format!("{error}; {PINS_ADVICE}"))?;
        let pins = self.pins.iter().map(|&pin| {
            let mut input = gpio.get(pin)?.into_input_pullup();
            input.set_interrupt(Trigger::Both, None)?;
            Ok(input)
        });
        let pins: Result<Vec<InputPin>, rppal::gpio::Error> = pins.collect();
        let pins = pins.map_err(|error| format!("{error}; {PINS_ADVICE}"))?;
        Ok(PiPins { gpio, pins })
    }
}

/// Inputs with pull-up. The kernel takes the interrupts and keeps their edges, with its own time, until asked.
struct PiPins {
    gpio: Gpio,
    pins: Vec<InputPin>,
}

impl Pins for PiPins {
    fn is_high(&mut self, pin: u8) -> Result<bool, String> {
        let input = self.pins.iter().find(|input| input.pin() == pin);
        input.map(InputPin::is_high).ok_or_else(|| format!("pin {pin} is not open"))
    }

    fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
        let first = into.len();
        let pins: Vec<&InputPin> = self.pins.iter().collect();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = Duration::try_from(now).map_err(|error| format!("the kernel's clock: {error}"))?;
        for _ in 0..MOST_EDGES {
            let event = self.gpio.poll_interrupts(&pins, false, Some(Duration::ZERO));
            let Some((input, event)) = event.map_err(|error| error.to_string())? else { break };
            let age_ms = now.saturating_sub(event.timestamp).as_millis();
            let at_ms = now_ms.saturating_sub(u64::try_from(age_ms).unwrap_or(u64::MAX));
            into.push(Edge { pin: input.pin(), at_ms, high: event.trigger == Trigger::RisingEdge });
        }
        if let Some(new) = into.get_mut(first..) {
            new.sort_by_key(|edge| edge.at_ms);
        }
        Ok(())
    }
}
