//! Sensirion SHT40, SHT41 and SHT45: temperature and relative humidity over I²C.
//!
//! Sections are those of the datasheet "SHT4x, 4th generation relative humidity and temperature sensor", version 6.
//! A measurement has two phases, so that one thread can start ten sensors and come back:
//! [`Sht4x::start`], wait [`Repeatability::duration_us`], [`Sht4x::read`]. [`Sht4x::measure`] is made of the two.
//!
//! ```
//! use drivers::sht4x::{sht4x, Address, Repeatability};
//! # fn demo<I: embedded_hal::i2c::I2c, D: embedded_hal::delay::DelayNs>(i2c: I, mut delay: D)
//! # -> Result<(), drivers::sht4x::Error<I::Error>> {
//! let mut chip = sht4x(i2c, Address::A);
//! let measured = chip.measure(Repeatability::High, &mut delay)?;
//! assert!(measured.humidity_centi_percent <= 100_00);
//! # Ok(()) }
//! ```

use core::fmt;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use crate::crc8::crc8;

/// Addresses the part is sold with, section 4.1 and the ordering information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Address {
    /// SHT4x-A, 0x44.
    A = 0x44,
    /// SHT4x-B, 0x45.
    B = 0x45,
    /// SHT4x-C, 0x46.
    C = 0x46,
}

impl Address {
    /// The address with this number, if the part can have it.
    pub fn new(address: u8) -> Option<Self> {
        [Self::A, Self::B, Self::C].into_iter().find(|known| *known as u8 == address)
    }
}

/// How long the chip measures, and how little it then scatters (section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repeatability {
    /// ±0.04 °C, 8.3 ms.
    High,
    /// ±0.07 °C, 4.5 ms.
    Medium,
    /// ±0.1 °C, 1.6 ms.
    Low,
}

impl Repeatability {
    /// Longest time from [`Sht4x::start`] until [`Sht4x::read`] answers, in microseconds (section 3.1).
    pub fn duration_us(self) -> u32 {
        match self {
            Repeatability::High => 8_300,
            Repeatability::Medium => 4_500,
            Repeatability::Low => 1_600,
        }
    }
}

/// Everything the chip is told here (section 4.5). The heater is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Measure temperature and humidity.
    Measure(Repeatability),
    /// Read the serial number.
    ReadSerial,
    /// Start again as after power-up; takes up to 1 ms.
    SoftReset,
}

impl Command {
    /// The byte on the bus.
    pub fn byte(self) -> u8 {
        match self {
            Command::Measure(Repeatability::High) => 0xfd,
            Command::Measure(Repeatability::Medium) => 0xf6,
            Command::Measure(Repeatability::Low) => 0xe0,
            Command::ReadSerial => 0x89,
            Command::SoftReset => 0x94,
        }
    }
}

/// Why there is no measurement. A chip that is still measuring does not acknowledge: that is a bus error too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus failed, or nobody answered at the address.
    Bus(E),
    /// A word came with the wrong checksum: noise on the wires.
    Crc {
        /// Computed from the word received.
        expected: u8,
        /// Received behind it.
        found: u8,
    },
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bus(error) => write!(f, "no answer on the bus: {error:?}"),
            Error::Crc { expected, found } => {
                write!(f, "checksum 0x{found:02x} came with a word of 0x{expected:02x}")
            }
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}

/// One measurement, rounded to the chip's resolution of 0.01 °C and 0.01 % (section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Temperature in 0.01 °C.
    pub temperature_centi_celsius: i32,
    /// Relative humidity in 0.01 %, cropped to 0 to 100 % as section 4.6 advises.
    pub humidity_centi_percent: i32,
}

/// −45 + 175 · raw / 65535 °C, in 0.01 °C, rounded (section 4.6).
pub fn centi_celsius(raw: u16) -> i32 {
    (i32::from(raw) * 17_500 + 32_767) / 65_535 - 4_500
}

/// −6 + 125 · raw / 65535 %, in 0.01 %, rounded and cropped to 0 to 100 % (section 4.6).
pub fn centi_percent(raw: u16) -> i32 {
    ((i32::from(raw) * 12_500 + 32_767) / 65_535 - 600).clamp(0, 10_000)
}

/// Two words, each followed by its checksum (section 4.4).
fn words<E>(raw: [u8; 6]) -> Result<[u16; 2], Error<E>> {
    let word = |high: u8, low: u8, found: u8| {
        let expected = crc8(&[high, low]);
        if expected == found {
            Ok(u16::from_be_bytes([high, low]))
        } else {
            Err(Error::Crc { expected, found })
        }
    };
    Ok([word(raw[0], raw[1], raw[2])?, word(raw[3], raw[4], raw[5])?])
}

fn measurement<E>(raw: [u8; 6]) -> Result<Measurement, Error<E>> {
    let [temperature, humidity] = words(raw)?;
    Ok(Measurement {
        temperature_centi_celsius: centi_celsius(temperature),
        humidity_centi_percent: centi_percent(humidity),
    })
}

fn serial<E>(raw: [u8; 6]) -> Result<u32, Error<E>> {
    let [high, low] = words(raw)?;
    Ok(u32::from(high) << 16 | u32::from(low))
}

/// An SHT4x on a bus. Keeps no state but the address: making one over `&mut bus` for each call is free.
#[derive(Debug)]
pub struct Sht4x<I2C> {
    i2c: I2C,
    address: Address,
}

/// An SHT40, SHT41 or SHT45.
pub fn sht4x<I2C>(i2c: I2C, address: Address) -> Sht4x<I2C> {
    Sht4x { i2c, address }
}

impl<I2C> Sht4x<I2C> {
    /// Gives the bus back.
    pub fn release(self) -> I2C {
        self.i2c
    }
}

impl<I2C: I2c> Sht4x<I2C> {
    /// Starts a measurement: the result is ready after [`Repeatability::duration_us`].
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub fn start(&mut self, repeatability: Repeatability) -> Result<(), Error<I2C::Error>> {
        self.command(Command::Measure(repeatability))
    }

    /// Fetches the measurement started before.
    ///
    /// # Errors
    /// [`Error::Bus`], also when the chip is still measuring; [`Error::Crc`].
    pub fn read(&mut self) -> Result<Measurement, Error<I2C::Error>> {
        measurement(self.answer()?)
    }

    /// Starts, waits and reads.
    ///
    /// # Errors
    /// As [`Sht4x::start`] and [`Sht4x::read`].
    pub fn measure<D: DelayNs>(
        &mut self,
        repeatability: Repeatability,
        delay: &mut D,
    ) -> Result<Measurement, Error<I2C::Error>> {
        self.start(repeatability)?;
        delay.delay_us(repeatability.duration_us());
        self.read()
    }

    /// The number burnt into this one chip (section 4.7).
    ///
    /// # Errors
    /// As [`Sht4x::read`].
    pub fn serial(&mut self) -> Result<u32, Error<I2C::Error>> {
        self.command(Command::ReadSerial)?;
        serial(self.answer()?)
    }

    /// Starts the chip again (section 4.8); give it 1 ms.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub fn soft_reset(&mut self) -> Result<(), Error<I2C::Error>> {
        self.command(Command::SoftReset)
    }

    fn command(&mut self, command: Command) -> Result<(), Error<I2C::Error>> {
        self.i2c.write(self.address as u8, &[command.byte()]).map_err(Error::Bus)
    }

    fn answer(&mut self) -> Result<[u8; 6], Error<I2C::Error>> {
        let mut raw = [0; 6];
        self.i2c.read(self.address as u8, &mut raw).map_err(Error::Bus)?;
        Ok(raw)
    }
}

/// The same chip on an asynchronous bus.
#[cfg(feature = "async")]
#[derive(Debug)]
pub struct Sht4xAsync<I2C> {
    i2c: I2C,
    address: Address,
}

/// An SHT40, SHT41 or SHT45 on an asynchronous bus.
#[cfg(feature = "async")]
pub fn sht4x_async<I2C>(i2c: I2C, address: Address) -> Sht4xAsync<I2C> {
    Sht4xAsync { i2c, address }
}

#[cfg(feature = "async")]
impl<I2C: embedded_hal_async::i2c::I2c> Sht4xAsync<I2C> {
    /// Gives the bus back.
    pub fn release(self) -> I2C {
        self.i2c
    }

    /// As [`Sht4x::start`].
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub async fn start(&mut self, repeatability: Repeatability) -> Result<(), Error<I2C::Error>> {
        self.command(Command::Measure(repeatability)).await
    }

    /// As [`Sht4x::read`].
    ///
    /// # Errors
    /// [`Error::Bus`], also when the chip is still measuring; [`Error::Crc`].
    pub async fn read(&mut self) -> Result<Measurement, Error<I2C::Error>> {
        measurement(self.answer().await?)
    }

    /// As [`Sht4x::measure`].
    ///
    /// # Errors
    /// As [`Sht4xAsync::read`].
    pub async fn measure<D: embedded_hal_async::delay::DelayNs>(
        &mut self,
        repeatability: Repeatability,
        delay: &mut D,
    ) -> Result<Measurement, Error<I2C::Error>> {
        self.start(repeatability).await?;
        delay.delay_us(repeatability.duration_us()).await;
        self.read().await
    }

    /// As [`Sht4x::serial`].
    ///
    /// # Errors
    /// As [`Sht4xAsync::read`].
    pub async fn serial(&mut self) -> Result<u32, Error<I2C::Error>> {
        self.command(Command::ReadSerial).await?;
        serial(self.answer().await?)
    }

    async fn command(&mut self, command: Command) -> Result<(), Error<I2C::Error>> {
        self.i2c.write(self.address as u8, &[command.byte()]).await.map_err(Error::Bus)
    }

    async fn answer(&mut self) -> Result<[u8; 6], Error<I2C::Error>> {
        let mut raw = [0; 6];
        self.i2c.read(self.address as u8, &mut raw).await.map_err(Error::Bus)?;
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_at_the_ends_of_the_range() {
        assert_eq!(centi_celsius(0), -4500);
        assert_eq!(centi_celsius(u16::MAX), 13_000);
        assert_eq!(centi_celsius(0x6666), 2500);
        assert_eq!(centi_percent(0), 0, "-6 % is cropped");
        assert_eq!(centi_percent(u16::MAX), 10_000, "119 % is cropped");
        assert_eq!(centi_percent(0x7fff), 5650);
    }

    #[test]
    fn only_three_addresses_exist() {
        assert_eq!(Address::new(0x45), Some(Address::B));
        assert_eq!(Address::new(0x48), None);
    }
}
