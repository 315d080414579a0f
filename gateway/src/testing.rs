//! Small vocabulary of the tests.

use configs::Catalogue;
use wire::{Area, Clock, ClockState, Datum, Place, SensorName};

use crate::clock::Stamp;
use crate::config::Sensor;

/// A synchronised clock with this epoch.
pub(crate) fn clock(epoch_ms: i64) -> Clock {
    Clock { state: ClockState::Synchronised, epoch_ms }
}

/// Boot 1, epoch 0, at `mono_ms`.
pub(crate) fn stamp(mono_ms: u64) -> Stamp {
    Stamp { boot: wire::BootId(1), clock: clock(0), mono_ms }
}

/// A place, another one for each number.
pub(crate) fn place(n: usize) -> Place {
    Place::new(30.0 + n as f64 / 1e4, 104.0, Datum::Wgs84, Area::unknown()).expect("on the map")
}

/// Air temperature sensors `s0`, `s1`, …, each at a place of its own, read each second.
pub(crate) fn sensors(count: usize) -> Vec<Sensor> {
    let catalogue = Catalogue::builtin();
    let quantity = catalogue.by_name("air-temperature").expect("in the catalogue").clone();
    (0..count)
        .map(|n| Sensor {
            name: SensorName::new(&format!("s{n}")).expect("valid"),
            quantity: quantity.clone(),
            place: place(n),
            chip: "sht4x",
            label: String::new(),
            every_ms: 1_000,
            spike: None,
            flat_ms: None,
            stale_ms: None,
        })
        .collect()
}
