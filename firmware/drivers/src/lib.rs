//! One file per chip or field protocol: pure decode, thin faces. `no_std`, no allocation.
//!
//! | Part | File | Link | Gives | Document |
//! |---|---|---|---|---|
//! | Sensirion SHT40, SHT41, SHT45 | [`sht4x`] | I²C 0x44–0x46 | temperature, humidity | SHT4x version 6 |
//! | TI ADS1115 | [`ads1115`] | I²C 0x48–0x4b | voltage of four inputs | SBAS444 revision D |
//! | 4–20 mA transmitters | [`current_loop`] | over an ADC and a shunt | any scaled value, or a fault | NAMUR NE 43 |
//! | DFRobot A02YYUW | [`a02yyuw`] | UART 9600 8N1 | distance | SEN0311 |
//! | dry contacts | [`contact`] | GPIO | open or closed | – |
//! | tipping-bucket rain gauges | [`rain_gauge`] | GPIO | rain since the last report | – |
//!
//! Drivers of I²C parts own the bus (or a `&mut` of it), are named after the part, measure in two phases so that
//! nobody has to wait in between, and give integers. With the feature `async` each has a second face over
//! `embedded-hal-async`; both are thin over the same pure functions.
//!
//! To add a part: one new file here with its test, a line in the table, an arm in `boards`.
#![no_std]

pub mod a02yyuw;
pub mod ads1115;
pub mod contact;
pub mod crc8;
pub mod current_loop;
pub mod rain_gauge;
pub mod sht4x;
