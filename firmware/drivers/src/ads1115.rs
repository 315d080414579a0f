//! Texas Instruments ADS1115: four inputs, 16 bits, over I²C.
//!
//! Sections are those of the datasheet SBAS444, revision D. Only single-shot mode is used (section 9.4.2.1): the chip
//! sleeps between readings, and a reading is of the input that was asked for. Two phases: [`Ads1115::start`], wait
//! [`DataRate::duration_us`], [`Ads1115::poll`] until it gives a value.
//!
//! `poll` compares the configuration it reads back with the one written. A brown-out resets the chip to another
//! input and range: its numbers would look plausible and be wrong.

use core::fmt;

use embedded_hal::i2c::I2c;

/// Addresses, chosen by what the ADDR pin is tied to (section 9.5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Address {
    /// ADDR to ground, 0x48.
    Ground = 0x48,
    /// ADDR to the supply, 0x49.
    Supply = 0x49,
    /// ADDR to SDA, 0x4a.
    Sda = 0x4a,
    /// ADDR to SCL, 0x4b.
    Scl = 0x4b,
}

impl Address {
    /// The address with this number, if the part can have it.
    pub fn new(address: u8) -> Option<Self> {
        [Self::Ground, Self::Supply, Self::Sda, Self::Scl].into_iter().find(|known| *known as u8 == address)
    }
}

/// What is measured: one input against ground (section 9.6.3, bits 14:12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// AIN0.
    A0,
    /// AIN1.
    A1,
    /// AIN2.
    A2,
    /// AIN3.
    A3,
}

impl Input {
    /// The input with this number, 0 to 3.
    pub fn new(number: u8) -> Option<Self> {
        [Self::A0, Self::A1, Self::A2, Self::A3].get(usize::from(number)).copied()
    }
}

/// Range of the programmable amplifier (section 9.6.3, bits 11:9). No input may leave the supply, whatever the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// ±6.144 V.
    V6_144,
    /// ±4.096 V.
    V4_096,
    /// ±2.048 V.
    V2_048,
    /// ±1.024 V.
    V1_024,
    /// ±0.512 V.
    V0_512,
    /// ±0.256 V.
    V0_256,
}

impl Range {
    /// From the widest to the narrowest, in the order of their bits.
    pub const ALL: [Range; 6] =
        [Range::V6_144, Range::V4_096, Range::V2_048, Range::V1_024, Range::V0_512, Range::V0_256];

    /// End of the range in microvolts.
    pub fn full_scale_uv(self) -> i64 {
        match self {
            Range::V6_144 => 6_144_000,
            Range::V4_096 => 4_096_000,
            Range::V2_048 => 2_048_000,
            Range::V1_024 => 1_024_000,
            Range::V0_512 => 512_000,
            Range::V0_256 => 256_000,
        }
    }

    /// The narrowest range that reaches `most_uv` microvolts; `None` above 6.144 V.
    pub fn reaching(most_uv: i64) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|range| range.full_scale_uv() >= most_uv)
    }

    /// A code of the conversion register in nanovolts, rounded towards zero (section 9.5.4).
    pub fn nanovolts(self, code: i16) -> i64 {
        i64::from(code) * self.full_scale_uv() * 1_000 / 32_768
    }
}

/// Conversions per second (section 9.6.3, bits 7:5). Slower means less noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataRate {
    /// 8 a second.
    Sps8,
    /// 16 a second.
    Sps16,
    /// 32 a second.
    Sps32,
    /// 64 a second.
    Sps64,
    /// 128 a second.
    Sps128,
    /// 250 a second.
    Sps250,
    /// 475 a second.
    Sps475,
    /// 860 a second.
    Sps860,
}

impl DataRate {
    /// Conversions per second.
    pub fn per_second(self) -> u32 {
        match self {
            DataRate::Sps8 => 8,
            DataRate::Sps16 => 16,
            DataRate::Sps32 => 32,
            DataRate::Sps64 => 64,
            DataRate::Sps128 => 128,
            DataRate::Sps250 => 250,
            DataRate::Sps475 => 475,
            DataRate::Sps860 => 860,
        }
    }

    /// Longest time from [`Ads1115::start`] until the result, in microseconds: one conversion of an oscillator that
    /// may be 10 % slow, and 25 µs to wake up (section 7.5 and 9.4.2.1).
    pub fn duration_us(self) -> u32 {
        1_100_000 / self.per_second() + 25
    }
}

/// Registers, by the value of the address pointer (section 9.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Register {
    /// The last result, two's complement.
    Conversion = 0,
    /// Input, range, rate, and whether a conversion runs.
    Config = 1,
}

/// One kind of single conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Config {
    /// The input.
    pub input: Input,
    /// The range.
    pub range: Range,
    /// The rate.
    pub rate: DataRate,
}

/// Bit 15: written, start; read, no conversion is running.
const OS: u16 = 1 << 15;
/// Bit 8: single-shot.
const SINGLE: u16 = 1 << 8;
/// Bits 1:0: comparator off, ALERT pin high-impedance.
const NO_COMPARATOR: u16 = 0b11;

impl Config {
    /// The register's bits (section 9.6.3), with the bit that starts.
    pub fn bits(self) -> u16 {
        let input = 0b100 | self.input as u16;
        OS | input << 12 | (self.range as u16) << 9 | SINGLE | (self.rate as u16) << 5 | NO_COMPARATOR
    }

    /// What the register read back says: `Ok(true)` when the conversion is done.
    fn check<E>(self, found: u16) -> Result<bool, Error<E>> {
        let (written, found_settings) = (self.bits() & !OS, found & !OS);
        if written == found_settings {
            Ok(found & OS != 0)
        } else {
            Err(Error::Config { written, found: found_settings })
        }
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus failed, or nobody answered at the address.
    Bus(E),
    /// The chip holds another configuration than was written: it was reset, or somebody else uses it.
    Config {
        /// Bits 14:0 as written.
        written: u16,
        /// Bits 14:0 as found.
        found: u16,
    },
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bus(error) => write!(f, "no answer on the bus: {error:?}"),
            Error::Config { written, found } => {
                write!(
                    f,
                    "configuration 0x{found:04x} found where 0x{written:04x} was written: the chip was reset or shared"
                )
            }
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}

/// An ADS1115 on a bus. Keeps no state but the address: making one over `&mut bus` for each call is free.
#[derive(Debug)]
pub struct Ads1115<I2C> {
    i2c: I2C,
    address: Address,
}

/// An ADS1115.
pub fn ads1115<I2C>(i2c: I2C, address: Address) -> Ads1115<I2C> {
    Ads1115 { i2c, address }
}

impl<I2C> Ads1115<I2C> {
    /// Gives the bus back.
    pub fn release(self) -> I2C {
        self.i2c
    }
}

impl<I2C: I2c> Ads1115<I2C> {
    /// Starts one conversion. Starting another before it ends spoils both: one conversion at a time on a chip.
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub fn start(&mut self, config: Config) -> Result<(), Error<I2C::Error>> {
        let [high, low] = config.bits().to_be_bytes();
        self.i2c.write(self.address as u8, &[Register::Config as u8, high, low]).map_err(Error::Bus)
    }

    /// The code of the conversion started with `config`; `None` while it runs. See [`Range::nanovolts`].
    ///
    /// # Errors
    /// [`Error::Bus`]; [`Error::Config`] when the chip no longer holds `config`.
    pub fn poll(&mut self, config: Config) -> Result<Option<i16>, Error<I2C::Error>> {
        if !config.check(self.register(Register::Config)?)? {
            return Ok(None);
        }
        Ok(Some(self.register(Register::Conversion)? as i16))
    }

    fn register(&mut self, register: Register) -> Result<u16, Error<I2C::Error>> {
        let mut raw = [0; 2];
        self.i2c.write_read(self.address as u8, &[register as u8], &mut raw).map_err(Error::Bus)?;
        Ok(u16::from_be_bytes(raw))
    }
}

/// The same chip on an asynchronous bus.
#[cfg(feature = "async")]
#[derive(Debug)]
pub struct Ads1115Async<I2C> {
    i2c: I2C,
    address: Address,
}

/// An ADS1115 on an asynchronous bus.
#[cfg(feature = "async")]
pub fn ads1115_async<I2C>(i2c: I2C, address: Address) -> Ads1115Async<I2C> {
    Ads1115Async { i2c, address }
}

#[cfg(feature = "async")]
impl<I2C: embedded_hal_async::i2c::I2c> Ads1115Async<I2C> {
    /// Gives the bus back.
    pub fn release(self) -> I2C {
        self.i2c
    }

    /// As [`Ads1115::start`].
    ///
    /// # Errors
    /// [`Error::Bus`].
    pub async fn start(&mut self, config: Config) -> Result<(), Error<I2C::Error>> {
        let [high, low] = config.bits().to_be_bytes();
        self.i2c.write(self.address as u8, &[Register::Config as u8, high, low]).await.map_err(Error::Bus)
    }

    /// As [`Ads1115::poll`].
    ///
    /// # Errors
    /// [`Error::Bus`]; [`Error::Config`] when the chip no longer holds `config`.
    pub async fn poll(&mut self, config: Config) -> Result<Option<i16>, Error<I2C::Error>> {
        if !config.check(self.register(Register::Config).await?)? {
            return Ok(None);
        }
        Ok(Some(self.register(Register::Conversion).await? as i16))
    }

    async fn register(&mut self, register: Register) -> Result<u16, Error<I2C::Error>> {
        let mut raw = [0; 2];
        self.i2c.write_read(self.address as u8, &[register as u8], &mut raw).await.map_err(Error::Bus)?;
        Ok(u16::from_be_bytes(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reset_value_differs_from_ours_only_where_we_mean_it() {
        // Section 9.6.3: the register starts as 0x8583, which is AIN0 against AIN1, ±2.048 V, 128 SPS, single-shot.
        let config = Config { input: Input::A0, range: Range::V2_048, rate: DataRate::Sps128 };
        assert_eq!(config.bits(), 0x8583 | 0b100 << 12);
    }

    #[test]
    fn codes_are_scaled_as_the_datasheet_says() {
        // Table 3: the least significant bit is 187.5 µV … 7.8125 µV.
        assert_eq!(Range::V6_144.nanovolts(1), 187_500);
        assert_eq!(Range::V4_096.nanovolts(1), 125_000);
        assert_eq!(Range::V2_048.nanovolts(1), 62_500);
        assert_eq!(Range::V0_256.nanovolts(2), 15_625);
        assert_eq!(Range::V2_048.nanovolts(i16::MIN), -2_048_000_000);
        assert_eq!(Range::V2_048.nanovolts(i16::MAX), 2_047_937_500);
    }

    #[test]
    fn the_narrowest_range_is_chosen() {
        assert_eq!(Range::reaching(2_048_000), Some(Range::V2_048));
        assert_eq!(Range::reaching(2_048_001), Some(Range::V4_096));
        assert_eq!(Range::reaching(7_000_000), None);
    }

    #[test]
    fn conversions_are_given_their_time() {
        assert_eq!(DataRate::Sps128.duration_us(), 8_618);
        assert_eq!(DataRate::Sps8.duration_us(), 137_525);
    }
}
