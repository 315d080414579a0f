//! A serial line with one sensor that talks by itself.

use drivers::a02yyuw::{Decoded, Decoder};

use crate::plan::Group;
use crate::port::{Port, Recovering};
use crate::schedule::next_due;
use crate::{Bus, Chip, Fault, Sample};

/// How often the line is emptied. The kernel keeps 4096 bytes, the sensor sends 40 a second.
const DRAIN_MS: u64 = 500;
/// Most bytes taken in one poll, so that a line full of noise cannot hold its thread.
const MOST_BYTES: usize = 8_192;
/// Digits kept of a level, since the mounting height may have some: thousandths of a millimetre.
const LEVEL_STEPS: f64 = 1_000.0;

/// A serial line to read from.
pub trait ByteSource: Send {
    /// Fills `into` with what has arrived and says how much; 0 when nothing has. Never waits.
    ///
    /// # Errors
    /// Why the line cannot be read.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, String>;
}

/// What the line said since the last report.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    distance_mm: Option<u16>,
    out_of_range: bool,
    bad_sum: bool,
}

/// A serial line with an A02YYUW.
pub struct UartBus<P: Port> {
    name: String,
    device: String,
    link: Recovering<P>,
    decoder: Decoder,
    mounted_mm: Option<f64>,
    outputs: Vec<(String, u16)>,
    every_ms: u64,
    due_ms: u64,
    drain_ms: u64,
    heard: Heard,
    failing: bool,
}

impl<P: Port> UartBus<P>
where
    P::Open: ByteSource,
{
    /// Opens the line of `group` through `port`.
    ///
    /// # Errors
    /// The port's own, and a group without an A02YYUW.
    pub fn new(group: &Group, port: P) -> Result<Self, String> {
        let found = group.devices.iter().find_map(|device| match device.chip {
            Chip::A02yyuw { mounted_mm } => Some((device, mounted_mm)),
            _ => None,
        });
        let (device, mounted_mm) =
            found.ok_or("no sensor that talks over a serial line is configured here")?;
        Ok(Self {
            name: group.bus.clone(),
            device: device.name.clone(),
            link: Recovering::new(port)?,
            decoder: Decoder::new(),
            mounted_mm,
            outputs: device.outputs.iter().map(|output| (output.output.clone(), output.sensor)).collect(),
            every_ms: device.every_ms,
            // The sensor needs a moment to speak: silence before the first report is due is no fault.
            due_ms: device.every_ms,
            drain_ms: 0,
            heard: Heard::default(),
            failing: false,
        })
    }

    /// Takes what has arrived. False when the line cannot be read.
    fn drain(&mut self, now_ms: u64) -> bool {
        let Some(line) = self.link.get(now_ms) else { return false };
        let mut buffer = [0; 256];
        let mut taken = 0;
        while taken < MOST_BYTES {
            match line.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    taken += count;
                    for &byte in buffer.iter().take(count) {
                        match self.decoder.push(byte) {
                            Some(Decoded::Distance { mm }) => self.heard.distance_mm = Some(mm),
                            Some(Decoded::OutOfRange { .. }) => self.heard.out_of_range = true,
                            Some(Decoded::BadSum { .. }) => self.heard.bad_sum = true,
                            None => {}
                        }
                    }
                }
                Err(why) => {
                    tracing::debug!(device = self.device, %why, "serial line failed");
                    self.link.failed(now_ms);
                    return false;
                }
            }
        }
        self.link.worked();
        true
    }

    fn report(&mut self, readable: bool, now_ms: u64, samples: &mut Vec<Sample>) {
        let heard = std::mem::take(&mut self.heard);
        let distance = match heard {
            Heard { distance_mm: Some(mm), .. } => Ok(f64::from(mm)),
            _ if !readable => Err(Fault::Bus),
            Heard { out_of_range: true, .. } => Err(Fault::Sensor),
            Heard { bad_sum: true, .. } => Err(Fault::Checksum),
            _ => Err(Fault::Silent),
        };
        match distance {
            Err(fault) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(device = self.device, %fault, "device gave no value");
            }
            Ok(_) if std::mem::take(&mut self.failing) => {
                tracing::info!(device = self.device, "device answers again")
            }
            _ => {}
        }
        for (output, sensor) in &self.outputs {
            let value = match (output.as_str(), self.mounted_mm) {
                ("level", Some(mounted)) => {
                    distance.map(|mm| ((mounted - mm) * LEVEL_STEPS).round() / LEVEL_STEPS)
                }
                _ => distance,
            };
            samples.push(Sample { sensor: *sensor, mono_ms: now_ms, value });
        }
    }
}

impl<P: Port> Bus for UartBus<P>
where
    P::Open: ByteSource,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn next_due_ms(&self) -> u64 {
        self.due_ms.min(self.drain_ms)
    }

    /// Reports the newest distance of the interval. A frame that came within it outweighs any noise around it.
    fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        let readable = self.drain(now_ms);
        self.drain_ms = now_ms + DRAIN_MS;
        if now_ms >= self.due_ms {
            self.report(readable, now_ms, samples);
            self.due_ms = next_due(self.due_ms, self.every_ms, now_ms);
        }
    }

    fn recoveries(&self) -> u64 {
        self.link.recoveries()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use drivers::a02yyuw::frame;

    use super::*;
    use crate::{DeviceSpec, Link, Output};

    /// A line that says what a test wrote into it; `None` is an error of the line.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<VecDeque<Option<Vec<u8>>>>>);

    impl Script {
        fn say(&self, bytes: &[u8]) {
            self.0.lock().unwrap().push_back(Some(bytes.to_vec()));
        }
        fn fail(&self) {
            self.0.lock().unwrap().push_back(None);
        }
    }

    impl Port for Script {
        type Open = Script;
        fn open(&mut self) -> Result<Script, String> {
            Ok(self.clone())
        }
    }

    impl ByteSource for Script {
        fn read(&mut self, into: &mut [u8]) -> Result<usize, String> {
            match self.0.lock().unwrap().pop_front() {
                None => Ok(0),
                Some(None) => Err("pulled".into()),
                Some(Some(bytes)) => {
                    into[..bytes.len()].copy_from_slice(&bytes);
                    Ok(bytes.len())
                }
            }
        }
    }

    fn bus(mounted_mm: Option<f64>, outputs: &[&str]) -> (UartBus<Script>, Script) {
        let outputs = outputs.iter().zip(0..).map(|(output, sensor)| Output {
            output: (*output).into(),
            sensor,
            quantity: wire::QuantityCode(100),
        });
        let device = DeviceSpec {
            name: "river".into(),
            chip: Chip::A02yyuw { mounted_mm },
            bus: "/dev/serial0".into(),
            every_ms: 1_000,
            outputs: outputs.collect(),
        };
        let group = Group { bus: "/dev/serial0".into(), link: Link::Uart, devices: vec![device] };
        let script = Script::default();
        (UartBus::new(&group, script.clone()).unwrap(), script)
    }

    fn poll(bus: &mut UartBus<Script>, now_ms: u64) -> Vec<Result<f64, Fault>> {
        let mut samples = Vec::new();
        bus.poll(now_ms, &mut samples);
        samples.into_iter().map(|sample| sample.value).collect()
    }

    #[test]
    fn the_newest_distance_is_reported_as_distance_and_level() {
        let (mut bus, line) = bus(Some(2_000.5), &["distance", "level"]);
        line.say(&frame(1_200));
        assert_eq!(poll(&mut bus, 500), [], "not due yet, but taken from the line");
        line.say(&[0x13, 0xff]);
        line.say(&frame(1_201));
        assert_eq!(poll(&mut bus, 1_000), [Ok(1_201.0), Ok(799.5)]);
    }

    #[test]
    fn every_way_to_have_no_value_is_a_fault_of_its_own() {
        let (mut bus, line) = bus(None, &["distance"]);
        assert_eq!(poll(&mut bus, 1_000), [Err(Fault::Silent)]);
        line.say(&[0xff, 1, 2, 3]);
        assert_eq!(poll(&mut bus, 2_000), [Err(Fault::Checksum)]);
        line.say(&frame(0));
        assert_eq!(poll(&mut bus, 3_000), [Err(Fault::Sensor)]);
        line.fail();
        assert_eq!(poll(&mut bus, 4_000), [Err(Fault::Bus)]);
        line.say(&frame(300));
        assert_eq!(poll(&mut bus, 5_000), [Ok(300.0)]);
    }

    #[test]
    fn a_line_that_keeps_failing_is_opened_again() {
        let (mut bus, line) = bus(None, &["distance"]);
        for second in 1..=u64::from(crate::port::REOPEN_AFTER) {
            line.fail();
            assert_eq!(poll(&mut bus, second * 1_000), [Err(Fault::Bus)]);
        }
        line.say(&frame(300));
        assert_eq!(poll(&mut bus, 10_000), [Ok(300.0)]);
        assert_eq!(bus.recoveries(), 1);
    }
}
