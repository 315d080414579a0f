//! A linux board without `[[device]]` tables describes itself.

use boards::{DeviceSpec, Output};
use configs::Catalogue;
use wire::{Place, SensorName};

use crate::config::{MAX_SENSORS, Sensor};

/// The devices of this machine and their sensors, by number. What the catalogue does not know is left out with a
/// warning.
pub(crate) fn devices(catalogue: &Catalogue, place: &Place) -> (Vec<DeviceSpec>, Vec<Sensor>) {
    let mut devices = Vec::new();
    let mut sensors: Vec<Sensor> = Vec::new();
    for device in boards::linux::discover() {
        let mut outputs = Vec::new();
        for found in device.outputs {
            let (Ok(name), Some(quantity)) =
                (SensorName::new(&found.sensor), catalogue.by_name(found.quantity))
            else {
                tracing::warn!(
                    output = found.output,
                    quantity = found.quantity,
                    "this output is not in the catalogue"
                );
                continue;
            };
            let Some(number) = u16::try_from(sensors.len()).ok().filter(|n| usize::from(*n) < MAX_SENSORS)
            else {
                break;
            };
            outputs.push(Output { output: found.output, sensor: number, quantity: quantity.code });
            sensors.push(Sensor {
                name,
                quantity: quantity.clone(),
                place: place.clone(),
                chip: device.chip.word(),
                label: found.label,
                every_ms: device.every_ms,
                spike: None,
                flat_ms: None,
                stale_ms: None,
            });
        }
        devices.push(DeviceSpec {
            name: device.name,
            chip: device.chip,
            bus: device.bus,
            every_ms: device.every_ms,
            outputs,
        });
    }
    (devices, sensors)
}
