//! What the table of sensors costs as a city grows: bytes a sensor, and processor time a reading.
//!
//! Every sensor reports once in each round, one frame of a gateway after the other, gateways in no order.

use std::fs;

use anyhow::{Context, ensure};
use benches::city::SEED;
use benches::table::Table;
use clap::Parser;
use ingest::pool::sensors::{Last, Sensors, Sighting};
use wire::{Area, ClockState, GatewayId, Quality, QuantityCode, SensorName};

/// Start of the simulated time, 2026-06-01 UTC.
const EPOCH_MS: i64 = 1_780_272_000_000;
/// Sensors of one place: a frame names 64 places at most.
const PER_PLACE: usize = 16;

/// Measures the table of sensors: bytes a sensor, processor nanoseconds a reading.
#[derive(Parser)]
struct Args {
    /// Sensors in the city.
    #[arg(long, value_delimiter = ',', default_value = "1000000,22000000")]
    sensors: Vec<usize>,
    /// Sensors of each gateway, all of them in each frame.
    #[arg(long, default_value_t = 1000)]
    each: usize,
    /// Rounds to measure, after one in which the sensors are new.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Processor time of this thread so far, in ns (Linux, `schedstat`: time on the processor).
fn processor_ns() -> anyhow::Result<u64> {
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("this needs Linux with schedstat")?;
    let first = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(first.parse()?)
}

/// Memory of this process that is there, in bytes.
fn resident_bytes() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS is empty")?.parse()?;
    Ok(kib * 1024)
}

/// How gateways name their sensors.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// All alike: `s17.level`.
    Alike,
    /// By serial number, each different in the city.
    Serial,
}

struct City {
    sensors: Sensors,
    gateways: Vec<GatewayId>,
    naming: Naming,
    each: usize,
    alike: Vec<SensorName>,
}

impl City {
    fn new(sensors: usize, each: usize, naming: Naming) -> anyhow::Result<Self> {
        let gateways = (0..sensors / each).map(|n| GatewayId::new(&format!("gw-{n:05}")));
        let alike = (0..each).map(|n| SensorName::new(&format!("s{n}.level")));
        let mut city = Self {
            sensors: Sensors::default(),
            gateways: gateways.collect::<Result<_, _>>()?,
            naming,
            each,
            alike: alike.collect::<Result<_, _>>()?,
        };
        for n in 0..500 {
            city.sensors.area_number(&Area::new(&format!("chengdu/d{}/s{n}", n % 23))?);
        }
        Ok(city)
    }

    /// One frame of every gateway, in an order of `random`; of every sensor, or of about half of them. Returns
    /// processor time and readings, without making up the frames.
    fn round(&mut self, random: &mut fastrand::Rng, at_ms: i64, all: bool) -> anyhow::Result<(u64, u64)> {
        let mut order: Vec<usize> = (0..self.gateways.len()).collect();
        random.shuffle(&mut order);
        let (mut ns, mut readings) = (0, 0);
        for number in order {
            let serials: Vec<SensorName>;
            let names = match self.naming {
                Naming::Alike => &self.alike,
                Naming::Serial => {
                    let first = (number * self.each) as u64;
                    let name = |n: u64| {
                        SensorName::new(&format!("{:016x}", (first + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                    };
                    serials = (0..self.each as u64).map(name).collect::<Result<_, _>>()?;
                    &serials
                }
            };
            let names: Vec<(usize, &SensorName)> =
                names.iter().enumerate().filter(|_| all || random.bool()).collect();
            let from = processor_ns()?;
            let owner = self.sensors.owner(&self.gateways[number]);
            for (n, name) in names {
                let place = (number * self.each + n) / PER_PLACE;
                let seen = Sighting {
                    quantity: QuantityCode((n % 226) as u16),
                    lat_e7: 306_000_000 + place as i32,
                    lon_e7: 1_040_000_000,
                    area: (number % 500) as u32,
                };
                let sensor = self.sensors.see(owner, name, &seen).context("too many sensors")?;
                let value = Some(20.0 + (n % 100) as f64 / 10.0);
                let (quality, clock) = (Quality::Good, ClockState::Synchronised);
                self.sensors.reading(sensor, Last { at_ms: at_ms + n as i64, value, quality, clock });
                readings += 1;
            }
            ns += processor_ns()? - from;
            self.sensors.forget_changes();
        }
        Ok((ns, readings))
    }
}

#[allow(clippy::print_stdout)] // the results
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!((1..=4096).contains(&args.each), "--each {}: 1 to 4096 sensors of a gateway expected", args.each);
    let mut table = Table::new(&[
        "sensors, names",
        "bytes each",
        "resident",
        "new: ns each",
        "all again: ns",
        "half of them: ns",
    ]);
    for &count in &args.sensors {
        for (naming, word) in [(Naming::Alike, "alike"), (Naming::Serial, "serial numbers")] {
            let mut random = fastrand::Rng::with_seed(SEED);
            let before = resident_bytes()?;
            let mut city = City::new(count, args.each, naming)?;
            let each = |(ns, readings): (u64, u64)| format!("{:.1}", ns as f64 / readings.max(1) as f64);
            let new = each(city.round(&mut random, EPOCH_MS, true)?);
            let mut again = |all| -> anyhow::Result<String> {
                let mut sum = (0, 0);
                for round in 1..=args.rounds as i64 {
                    let (ns, readings) = city.round(&mut random, EPOCH_MS + round * 60_000, all)?;
                    sum = (sum.0 + ns, sum.1 + readings);
                }
                Ok(each(sum))
            };
            let (all, half) = (again(true)?, again(false)?);
            let sensors = city.sensors.len();
            let bytes = |bytes: u64| format!("{:.1}", bytes as f64 / sensors as f64);
            table.row(vec![
                format!("{sensors}, {word}"),
                bytes(city.sensors.memory_bytes() as u64),
                bytes(resident_bytes()?.saturating_sub(before)),
                new,
                all,
                half,
            ]);
        }
    }
    print!("{}", table.text());
    Ok(())
}
