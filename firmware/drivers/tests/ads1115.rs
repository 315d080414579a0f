//! ADS1115 against a mocked bus.

mod common;

use common::{Mock, NOBODY, Transaction, write, write_read};
use drivers::ads1115::{Address, Ads1115, Config, DataRate, Error, Input, Range, ads1115};

/// AIN2 against ground, ±4.096 V, 128 a second.
const CONFIG: Config = Config { input: Input::A2, range: Range::V4_096, rate: DataRate::Sps128 };
const WRITTEN: [u8; 3] = [0x01, 0xe3, 0x83];

fn chip(transactions: &[Transaction]) -> Ads1115<Mock> {
    ads1115(Mock::new(transactions), Address::Ground)
}

fn done(chip: Ads1115<Mock>) {
    chip.release().done();
}

#[test]
fn converts_once_and_waits_for_the_ready_bit() {
    let mut chip = chip(&[
        write(0x48, &WRITTEN),
        write_read(0x48, &[1], &[0x63, 0x83]),
        write_read(0x48, &[1], &[0xe3, 0x83]),
        write_read(0x48, &[0], &[0x3e, 0x80]),
    ]);
    chip.start(CONFIG).unwrap();
    assert_eq!(chip.poll(CONFIG), Ok(None), "still converting");
    assert_eq!(chip.poll(CONFIG), Ok(Some(16_000)));
    assert_eq!(CONFIG.range.nanovolts(16_000), 2_000_000_000);
    done(chip);
}

#[test]
fn a_negative_code_stays_negative() {
    let mut chip = chip(&[write_read(0x48, &[1], &[0xe3, 0x83]), write_read(0x48, &[0], &[0xff, 0xfe])]);
    assert_eq!(chip.poll(CONFIG), Ok(Some(-2)));
    done(chip);
}

#[test]
fn a_chip_that_was_reset_is_found_out() {
    let mut chip = chip(&[write(0x48, &WRITTEN), write_read(0x48, &[1], &[0x85, 0x83])]);
    chip.start(CONFIG).unwrap();
    assert_eq!(chip.poll(CONFIG), Err(Error::Config { written: 0x6383, found: 0x0583 }));
    done(chip);
}

#[test]
fn errors_of_the_bus_come_through() {
    let mut chip = chip(&[
        write(0x48, &WRITTEN).with_error(NOBODY),
        write_read(0x48, &[1], &[0xe3, 0x83]),
        write_read(0x48, &[0], &[0, 0]).with_error(NOBODY),
    ]);
    assert_eq!(chip.start(CONFIG), Err(Error::Bus(NOBODY)));
    assert_eq!(chip.poll(CONFIG), Err(Error::Bus(NOBODY)));
    done(chip);
}

#[cfg(feature = "async")]
#[test]
fn the_asynchronous_face_says_the_same() {
    let bus = Mock::new(&[
        write(0x4b, &WRITTEN),
        write_read(0x4b, &[1], &[0xe3, 0x83]),
        write_read(0x4b, &[0], &[0x3e, 0x80]),
    ]);
    let mut chip = drivers::ads1115::ads1115_async(bus, Address::Scl);
    common::run(chip.start(CONFIG)).unwrap();
    assert_eq!(common::run(chip.poll(CONFIG)), Ok(Some(16_000)));
    chip.release().done();
}
