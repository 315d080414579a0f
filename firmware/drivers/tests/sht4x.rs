//! SHT4x against a mocked bus.

mod common;

use common::{ErrorKind, Mock, NOBODY, Transaction, read, write};
use drivers::sht4x::{Address, Error, Measurement, Repeatability, Sht4x, sht4x};
use embedded_hal_mock::eh1::delay::NoopDelay;

/// 25.00 °C and 56.50 %, each with its checksum.
const ANSWER: [u8; 6] = [0x66, 0x66, 0x93, 0x7f, 0xff, 0x8f];
const MEASURED: Measurement = Measurement { temperature_centi_celsius: 2500, humidity_centi_percent: 5650 };

fn chip(transactions: &[Transaction]) -> Sht4x<Mock> {
    sht4x(Mock::new(transactions), Address::A)
}

fn done(chip: Sht4x<Mock>) {
    chip.release().done();
}

#[test]
fn measures_in_two_phases() {
    let mut chip = chip(&[write(0x44, &[0xfd]), read(0x44, &ANSWER)]);
    chip.start(Repeatability::High).unwrap();
    assert_eq!(chip.read(), Ok(MEASURED));
    done(chip);
}

#[test]
fn measures_at_once() {
    let mut chip = chip(&[write(0x44, &[0xe0]), read(0x44, &ANSWER)]);
    assert_eq!(chip.measure(Repeatability::Low, &mut NoopDelay::new()), Ok(MEASURED));
    done(chip);
}

#[test]
fn medium_is_another_command_at_another_address() {
    let mut chip = sht4x(Mock::new(&[write(0x46, &[0xf6])]), Address::C);
    chip.start(Repeatability::Medium).unwrap();
    done(chip);
}

#[test]
fn a_wrong_checksum_of_either_word_is_no_measurement() {
    for (byte, expected, found) in [(2, 0x93, 0x92), (5, 0x8f, 0x8e)] {
        let mut answer = ANSWER;
        answer[byte] ^= 1;
        let mut chip = chip(&[read(0x44, &answer)]);
        assert_eq!(chip.read(), Err(Error::Crc { expected, found }));
        done(chip);
    }
}

#[test]
fn an_absent_chip_is_a_bus_error() {
    let mut chip = chip(&[write(0x44, &[0xfd]).with_error(NOBODY)]);
    assert_eq!(chip.start(Repeatability::High), Err(Error::Bus(NOBODY)));
    done(chip);
}

#[test]
fn reading_too_early_is_a_bus_error() {
    let mut chip = chip(&[write(0x44, &[0xfd]), read(0x44, &[0; 6]).with_error(ErrorKind::Other)]);
    let measured = chip.measure(Repeatability::High, &mut NoopDelay::new());
    assert_eq!(measured, Err(Error::Bus(ErrorKind::Other)));
    done(chip);
}

#[test]
fn gives_its_serial_number_and_restarts() {
    // 0xBEEF with checksum 0x92 is the datasheet's own example.
    let answer = [0xbe, 0xef, 0x92, 0x66, 0x66, 0x93];
    let mut chip = chip(&[write(0x44, &[0x89]), read(0x44, &answer), write(0x44, &[0x94])]);
    assert_eq!(chip.serial(), Ok(0xbeef_6666));
    chip.soft_reset().unwrap();
    done(chip);
}

#[cfg(feature = "async")]
#[test]
fn the_asynchronous_face_says_the_same() {
    let bus = Mock::new(&[write(0x45, &[0xfd]), read(0x45, &ANSWER), read(0x45, &[0; 6])]);
    let mut chip = drivers::sht4x::sht4x_async(bus, Address::B);
    let measured = common::run(chip.measure(Repeatability::High, &mut NoopDelay::new()));
    assert_eq!(measured, Ok(MEASURED));
    assert_eq!(common::run(chip.read()), Err(Error::Crc { expected: 0x81, found: 0 }));
    chip.release().done();
}
