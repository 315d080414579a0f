//! A gateway whose buffer is full before it starts to ship, and one of whose contacts is pressed on command.
//!
//! Everything between the buses and the broker is the product's: pipeline thread, buffer, courier. Only the bus is
//! missing: samples are made here and go into the same queue. It talks with its parent over standard input and output:
//! ```text
//! filled FRAMES        the buffer holds its backlog; ships after a line on standard input
//! press STATE US LEFT  the contact changed at US (µs since 1970 UTC) to 1 or 0, LEFT frames of readings wait
//! done READINGS        all presses are made; so many readings were sampled in all; ends with standard input
//! ```

use std::io::stdin;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use boards::Sample;
use fastrand::Rng;
use gateway::batch::Batcher;
use gateway::buffer::{self, Buffer};
use gateway::clock::Timekeeper;
use gateway::courier::{self, Window};
use gateway::judge::{Judge, Rules};
use gateway::pipeline::{Pipeline, PipelineFigures};
use gateway::{Config, sample};
use tokio::sync::watch;
use wire::Lane;

use crate::listener::now_us;

/// The sensor that is pressed, and the rule over it.
pub const CONTACT: &str = "house1.call-point";
/// See [`CONTACT`].
pub const RULE: &str = "pressed";
/// Readings between two waits for the disk while the buffer is filled: what the queues in front of it hold.
const STRIDE: u64 = 50_000;
/// The other sensors are sampled this often while alarms come, in ms.
const EVERY_MS: u64 = 1_000;

/// Text to add to a configuration so that the contact raises alarms at once.
pub fn rule() -> String {
    format!(
        "[[rule]]\nname = \"{RULE}\"\nsensor = \"{CONTACT}\"\nabove = 0.5\ndeadband = 0.1\nlevel = \"red\"\n"
    )
}

/// The sensors of a box.
struct Bus {
    samples: SyncSender<Vec<Sample>>,
    time: Timekeeper,
    contact: u16,
    /// The others: number and value.
    others: Vec<(u16, f64)>,
    random: Rng,
    sampled: u64,
}

impl Bus {
    /// Samples all sensors but the contact. Values wander by hundredths and stay below every limit of the street.
    fn poll(&mut self) -> anyhow::Result<()> {
        let mono_ms = self.time.now_ms();
        let samples: Vec<Sample> = (self.others.iter_mut())
            .map(|(sensor, value)| {
                *value = (*value + f64::from(self.random.i8(-3..=3)) / 100.0).clamp(0.0, 1.0);
                Sample { sensor: *sensor, mono_ms, value: Ok((*value * 100.0).round() / 100.0) }
            })
            .collect();
        self.sampled += samples.len() as u64;
        self.samples.send(samples).context("the pipeline has ended")
    }

    fn press(&mut self, value: f64) -> anyhow::Result<u64> {
        let at_us = now_us();
        let sample = Sample { sensor: self.contact, mono_ms: self.time.now_ms(), value: Ok(value) };
        self.sampled += 1;
        self.samples.send(vec![sample]).context("the pipeline has ended")?;
        Ok(at_us)
    }
}

/// Fills the buffer with `fill` readings, waits for a line, ships, and presses the contact `presses` times, about
/// `every` apart.
///
/// # Errors
/// When the configuration is wrong, or the buffer cannot be had.
#[allow(clippy::print_stdout)] // how it talks with its parent
pub fn run(config: &Path, fill: u64, presses: u32, every: Duration) -> anyhow::Result<()> {
    let config = Config::load(config).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = Timekeeper::start();
    let stamp = time.clone();
    let opened = buffer::open(&config.data, &config.id, config.quota_bytes, move || stamp.stamp())?;
    let buffer = opened.buffer;
    let figures = Arc::<PipelineFigures>::default();
    let pipeline = Pipeline {
        judge: Judge::new(&config.sensors, 1.0, time.now_ms()),
        rules: Rules::new(&config.rules, &config.sensors, time.boot()),
        batcher: Batcher::new(config.batch, time.boot(), time.stamp().clock, &config.sensors),
        buffer: buffer.clone(),
        time: time.clone(),
        stop: sample::Stop::default(),
        figures: Arc::clone(&figures),
    };
    let (samples, polled) = sync_channel(sample::POLLS);
    thread::spawn(move || pipeline.run(&polled));
    let contact = config.sensors.iter().position(|sensor| sensor.name.as_str() == CONTACT);
    let Some(contact) = contact else { bail!("no sensor {CONTACT}: more sensors are needed") };
    let others = (0..config.sensors.len()).filter(|&number| number != contact);
    let mut bus = Bus {
        samples,
        time: time.clone(),
        contact: contact as u16,
        others: others.map(|number| (number as u16, 0.5)).collect(),
        random: Rng::with_seed(crate::city::SEED),
        sampled: 0,
    };

    let mut waited = 0;
    while bus.sampled < fill {
        bus.poll()?;
        thread::sleep(Duration::from_millis(1));
        if bus.sampled - waited >= STRIDE {
            waited = bus.sampled;
            runtime.block_on(buffer.flush())?;
        }
    }
    while figures.readings.load(Ordering::Relaxed) < bus.sampled {
        thread::sleep(Duration::from_millis(1));
    }
    runtime.block_on(buffer.flush())?;
    println!("filled {}", waiting(&buffer));
    if stdin().read_line(&mut String::new())? == 0 {
        return Ok(());
    }

    let window = Window::default();
    let (_stop, stopping) = watch::channel(false);
    let shipping =
        courier::ship(config, buffer.clone(), time, window.clone(), stopping, Duration::ZERO, None);
    // Nobody is left behind, whichever way the parent ends.
    thread::spawn(|| {
        stdin().lines().for_each(drop);
        std::process::exit(0);
    });
    // Presses come from a thread of their own, as samples do; the runtime is the courier's, as on a box.
    thread::spawn(move || match press_all(&mut bus, &buffer, &window, presses, every) {
        Ok(()) => println!("done {}", bus.sampled),
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    });
    runtime.block_on(shipping);
    bail!("the shipper has ended")
}

fn waiting(buffer: &Buffer) -> u64 {
    buffer.heads().borrow().backlog(Lane::Reading)
}

#[allow(clippy::print_stdout)] // how it talks with its parent
fn press_all(
    bus: &mut Bus,
    buffer: &Buffer,
    window: &Window,
    presses: u32,
    every: Duration,
) -> anyhow::Result<()> {
    while window.look().figures.durable == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let mut polled_ms = bus.time.now_ms();
    for number in 0..presses {
        // Between half and one and a half, so that it meets everything in every phase.
        let pause = every.mul_f64(0.5 + bus.random.f64());
        thread::sleep(pause);
        if bus.time.now_ms().saturating_sub(polled_ms) >= EVERY_MS {
            polled_ms = bus.time.now_ms();
            bus.poll()?;
        }
        let state = u32::from(number.is_multiple_of(2));
        let at_us = bus.press(f64::from(state))?;
        println!("press {state} {at_us} {}", waiting(buffer));
    }
    Ok(())
}
