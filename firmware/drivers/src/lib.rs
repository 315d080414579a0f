//! One file per chip or field protocol: pure decode, thin faces. `no_std`, no allocation.
//!
//! | Part | File | Link | Gives | Document |
//! |---|---|---|---|---|
//! | Sensirion SHT40, SHT41, SHT45 | [`sht4x`] | I²C 0x44–0x46 | temperature, humidity | SHT4x version 6 |
//! | TI ADS1115 | [`ads1115`] | I²C 0x48–0x4b | voltage of four inputs | SBAS444 revision D |
//! | 4–20 mA transmitters | [`current_loop`] | over an ADC and a shunt | any scaled value, or a fault | NAMUR NE 43 |
#![no_std]

pub mod ads1115;
pub mod crc8;
pub mod current_loop;
pub mod sht4x;
