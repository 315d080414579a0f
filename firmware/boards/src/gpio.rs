//! The pins of a board: contacts and rain gauges.

use drivers::contact::Contact;
use drivers::rain_gauge::RainGauge;

use crate::plan::Group;
use crate::port::{Port, Recovering};
use crate::schedule::next_due;
use crate::{Bus, Chip, Fault, Sample};

/// How often pins are looked at. Edges carry their own time, so this only delays a change by so much.
const LOOK_MS: u64 = 50;
/// Most edges a board takes in one look, so that a chattering pin cannot hold its thread. The rest waits in the
/// kernel, whose own queue drops the newest when it is full; levels are read besides, so a contact is right again.
pub const MOST_EDGES: usize = 256;

/// A pin changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// BCM number.
    pub pin: u8,
    /// When, in milliseconds since the gateway's start.
    pub at_ms: u64,
    /// The level it changed to.
    pub high: bool,
}

/// The pins of a board, opened as inputs with pull-up.
pub trait Pins: Send {
    /// The level of a pin now.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn is_high(&mut self, pin: u8) -> Result<bool, String>;

    /// Appends the edges since the last call, in the order of time, up to `now_ms`.
    ///
    /// # Errors
    /// Why they cannot be had.
    fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String>;
}

enum Part {
    Contact { contact: Contact, active_low: bool },
    Rain { gauge: RainGauge },
}

struct Device {
    pin: u8,
    part: Part,
    sensors: Vec<u16>,
    every_ms: u64,
    due_ms: u64,
}

impl Device {
    fn tell(&self, value: Result<f64, Fault>, now_ms: u64, samples: &mut Vec<Sample>) {
        samples.extend(self.sensors.iter().map(|&sensor| Sample { sensor, mono_ms: now_ms, value }));
    }

    /// Takes an edge.
    fn edge(&mut self, edge: Edge, now_ms: u64, samples: &mut Vec<Sample>) {
        match &mut self.part {
            Part::Contact { contact, active_low } => {
                if let Some(closed) = contact.level(edge.at_ms.min(now_ms), edge.high != *active_low) {
                    self.tell(Ok(f64::from(u8::from(closed))), now_ms, samples);
                }
            }
            // The reed switch closes to ground.
            Part::Rain { gauge } if !edge.high => {
                gauge.closed(edge.at_ms);
            }
            Part::Rain { .. } => {}
        }
    }

    /// Reads the level of a contact, so that an edge that was missed does not matter.
    fn look(&mut self, pins: &mut impl Pins, now_ms: u64, samples: &mut Vec<Sample>) -> Result<(), String> {
        if let Part::Contact { contact, active_low } = &mut self.part {
            let level = pins.is_high(self.pin)? != *active_low;
            if let Some(closed) = contact.level(now_ms, level) {
                self.tell(Ok(f64::from(u8::from(closed))), now_ms, samples);
                self.due_ms = next_due(self.due_ms, self.every_ms, now_ms);
            }
        }
        Ok(())
    }

    /// Reports at the interval, whatever happened between.
    fn report(&mut self, readable: bool, now_ms: u64, samples: &mut Vec<Sample>) {
        if now_ms < self.due_ms {
            return;
        }
        let value = match &mut self.part {
            _ if !readable => Err(Fault::Bus),
            Part::Contact { contact, .. } => match contact.state() {
                Some(closed) => Ok(f64::from(u8::from(closed))),
                // It has never been stable since the start: give it one more interval before that is a fault.
                None if self.due_ms == 0 => {
                    self.due_ms = next_due(self.due_ms, self.every_ms, now_ms);
                    return;
                }
                None => Err(Fault::Sensor),
            },
            Part::Rain { gauge } => Ok(gauge.take_micrometres() as f64 / 1_000.0),
        };
        self.due_ms = next_due(self.due_ms, self.every_ms, now_ms);
        self.tell(value, now_ms, samples);
    }
}

/// The pins of a board with everything on them.
pub struct GpioBus<P: Port> {
    name: String,
    link: Recovering<P>,
    devices: Vec<Device>,
    look_ms: u64,
    edges: Vec<Edge>,
    failing: bool,
}

impl<P: Port> GpioBus<P>
where
    P::Open: Pins,
{
    /// Opens the pins of `group` through `port`.
    ///
    /// # Errors
    /// The port's own.
    pub fn new(group: &Group, port: P) -> Result<Self, String> {
        let devices = group.devices.iter().filter_map(|device| {
            let (pin, part, due_ms) = match device.chip {
                Chip::Contact { pin, debounce_ms, active_low } => {
                    (pin, Part::Contact { contact: Contact::new(debounce_ms), active_low }, 0)
                }
                Chip::RainGauge { pin, mm_per_tip } => {
                    let gauge = RainGauge::new((mm_per_tip * 1_000.0).round() as u32);
                    // The first report covers a whole interval, like all others.
                    (pin, Part::Rain { gauge }, device.every_ms)
                }
                _ => return None,
            };
            let sensors = device.outputs.iter().map(|output| output.sensor).collect();
            Some(Device { pin, part, sensors, every_ms: device.every_ms, due_ms })
        });
        let devices = devices.collect();
        let link = Recovering::new(port)?;
        Ok(Self { name: group.bus.clone(), link, devices, look_ms: 0, edges: Vec::new(), failing: false })
    }

    /// Takes edges and levels.
    fn look(&mut self, now_ms: u64, samples: &mut Vec<Sample>) -> Result<(), String> {
        let pins = self.link.get(now_ms).ok_or("the pins are closed after failures")?;
        self.edges.clear();
        pins.edges(now_ms, &mut self.edges)?;
        for &edge in &self.edges {
            for device in self.devices.iter_mut().filter(|device| device.pin == edge.pin) {
                device.edge(edge, now_ms, samples);
            }
        }
        for device in &mut self.devices {
            device.look(pins, now_ms, samples)?;
        }
        Ok(())
    }
}

impl<P: Port> Bus for GpioBus<P>
where
    P::Open: Pins,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn next_due_ms(&self) -> u64 {
        self.devices.iter().map(|device| device.due_ms).fold(self.look_ms, u64::min)
    }

    fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        self.look_ms = now_ms + LOOK_MS;
        let looked = self.look(now_ms, samples);
        match &looked {
            Ok(()) => {
                self.link.worked();
                if std::mem::take(&mut self.failing) {
                    tracing::info!(bus = self.name, "pins answer again");
                }
            }
            Err(why) => {
                self.link.failed(now_ms);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(bus = self.name, %why, "pins cannot be read");
                }
            }
        }
        for device in &mut self.devices {
            device.report(looked.is_ok(), now_ms, samples);
        }
    }

    fn recoveries(&self) -> u64 {
        self.link.recoveries()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{DeviceSpec, Link, Output};

    /// Pins that a test moves.
    #[derive(Clone, Default)]
    struct Board(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        high: BTreeMap<u8, bool>,
        edges: Vec<Edge>,
        broken: bool,
    }

    impl Board {
        fn turn(&self, pin: u8, at_ms: u64, high: bool) {
            self.0.lock().unwrap().edges.push(Edge { pin, at_ms, high });
        }
    }

    impl Port for Board {
        type Open = Board;
        fn open(&mut self) -> Result<Board, String> {
            Ok(self.clone())
        }
    }

    impl Pins for Board {
        fn is_high(&mut self, pin: u8) -> Result<bool, String> {
            Ok(*self.0.lock().unwrap().high.get(&pin).unwrap_or(&true))
        }
        fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
            let mut state = self.0.lock().unwrap();
            if state.broken {
                return Err("gone".into());
            }
            let past: Vec<Edge> = state.edges.extract_if(.., |edge| edge.at_ms <= now_ms).collect();
            for edge in past {
                state.high.insert(edge.pin, edge.high);
                into.push(edge);
            }
            Ok(())
        }
    }

    const DOOR: u16 = 0;
    const RAIN: u16 = 1;

    fn bus() -> (GpioBus<Board>, Board) {
        let device = |name: &str, chip, output: &str, sensor, every_ms| DeviceSpec {
            name: name.into(),
            chip,
            bus: "gpio".into(),
            every_ms,
            outputs: vec![Output { output: output.into(), sensor, quantity: wire::QuantityCode(400) }],
        };
        let devices = vec![
            device(
                "door",
                Chip::Contact { pin: 4, debounce_ms: 50, active_low: true },
                "contact",
                DOOR,
                60_000,
            ),
            device("roof", Chip::RainGauge { pin: 5, mm_per_tip: 0.2 }, "rain", RAIN, 10_000),
        ];
        let board = Board::default();
        let group = Group { bus: "gpio".into(), link: Link::Gpio, devices };
        (GpioBus::new(&group, board.clone()).unwrap(), board)
    }

    /// Polls whenever the bus wants to be, up to `until_ms`; what one sensor said.
    fn run(bus: &mut GpioBus<Board>, until_ms: u64, sensor: u16) -> Vec<(u64, Result<f64, Fault>)> {
        let mut samples = Vec::new();
        while bus.next_due_ms() <= until_ms {
            bus.poll(bus.next_due_ms(), &mut samples);
        }
        samples.into_iter().filter(|s| s.sensor == sensor).map(|s| (s.mono_ms, s.value)).collect()
    }

    #[test]
    fn a_door_is_told_at_once_and_again_each_interval() {
        let (mut bus, board) = bus();
        assert_eq!(run(&mut bus, 900, DOOR), [(50, Ok(0.0))]);
        for (at, high) in [(1_000, false), (1_002, true), (1_004, false)] {
            board.turn(4, at, high);
        }
        assert_eq!(run(&mut bus, 60_000, DOOR), [(1_100, Ok(1.0)), (60_000, Ok(1.0))]);
    }

    #[test]
    fn a_door_that_opened_and_shut_between_two_looks_is_not_missed() {
        let (mut bus, board) = bus();
        run(&mut bus, 900, DOOR);
        let mut samples = Vec::new();
        // The thread was held up: both edges come with one late look.
        board.turn(4, 1_000, false);
        board.turn(4, 1_900, true);
        bus.poll(2_000, &mut samples);
        bus.poll(2_050, &mut samples);
        let values: Vec<_> = samples.iter().filter(|s| s.sensor == DOOR).map(|s| s.value).collect();
        assert_eq!(values, [Ok(1.0), Ok(0.0)]);
    }

    #[test]
    fn rain_is_counted_by_closings() {
        let (mut bus, board) = bus();
        for tip in [1_000, 3_000, 9_000] {
            board.turn(5, tip, false);
            board.turn(5, tip + 3, true);
            board.turn(5, tip + 4, false);
            board.turn(5, tip + 70, true);
        }
        assert_eq!(run(&mut bus, 20_000, RAIN), [(10_000, Ok(0.6)), (20_000, Ok(0.0))]);
    }

    #[test]
    fn pins_that_cannot_be_read_are_a_fault_and_come_back() {
        let (mut bus, board) = bus();
        run(&mut bus, 900, DOOR);
        board.0.lock().unwrap().broken = true;
        assert_eq!(run(&mut bus, 60_000, RAIN).last(), Some(&(60_000, Err(Fault::Bus))));
        board.0.lock().unwrap().broken = false;
        assert_eq!(run(&mut bus, 120_000, DOOR).last(), Some(&(120_000, Ok(0.0))));
        assert!(bus.recoveries() >= 1);
    }
}
