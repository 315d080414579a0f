//! What the guests do while their disks are recorded: each load leans on another part of the buffer.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use fastrand::Rng;
use gateway::batch::pack;
use gateway::buffer;
use gateway::clock::Timekeeper;
use gateway::config::Config;
use wire::Payload;

use crate::city::{Gateway, Habits};
use crate::street;

/// Where the guest's gateway keeps its data.
const DATA: &str = "/mnt/gateway";
/// Where gateways look for ingest; in the guest a relay listens there.
const BROKER: &str = "127.0.0.1:1883";
/// The disk is this much larger than its file system: promises are written into the gap.
const GAP_MIB: u64 = 4;
/// How often the street's sensors are read.
const STREET_EVERY: [&str; 5] = ["1s", "2s", "5s", "10s", "30s"];
/// Readings of a frame that is laid in before the recording, with random values: about 20 KB.
const FILL_READINGS: usize = 2_400;

/// What one guest does.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// In reports.
    pub name: &'static str,
    sensors: usize,
    /// Simulated seconds per second: more of them bring fires, floods and doors more often.
    speed: f64,
    /// How often every sensor is read.
    every: &'static str,
    /// Readings and age at which a batch is closed.
    readings: u32,
    age: &'static str,
    quota_mib: u64,
    /// Bytes of frames that lie in the buffer before the recording.
    fill_bytes: u64,
    /// Whether an ingest on the host empties the buffer.
    ingest: bool,
    /// Seconds between `kill -9` of the gateway in the guest; 0 for none.
    kill_s: u64,
    /// Size of the file system.
    fs_mib: u64,
}

const PLAIN: Load = Load {
    name: "small batches",
    sensors: 12,
    speed: 20.0,
    every: "50ms",
    readings: 5,
    age: "100ms",
    quota_mib: 1024,
    fill_bytes: 0,
    ingest: false,
    kill_s: 0,
    fs_mib: 60,
};
/// Just under what 64 MiB of quota hold, so that readings are dropped soon after the start.
const FULL_BYTES: u64 = 10_000_000;

/// Every load, in the order of recordings.
pub const LOADS: [Load; 8] = [
    PLAIN,
    Load { name: "drained as it comes", sensors: 30, every: "200ms", age: "100ms", ingest: true, ..PLAIN },
    Load {
        name: "quota full",
        sensors: 120,
        every: "200ms",
        readings: 100,
        age: "200ms",
        quota_mib: 64,
        fill_bytes: FULL_BYTES,
        fs_mib: 120,
        ..PLAIN
    },
    Load { name: "killed again and again", kill_s: 2, ..PLAIN },
    Load { name: "large batches", sensors: 300, every: "500ms", readings: 1000, age: "2s", ..PLAIN },
    Load {
        name: "a backlog drains",
        every: "200ms",
        age: "200ms",
        fill_bytes: 6_000_000,
        ingest: true,
        ..PLAIN
    },
    Load {
        name: "alarms all the time",
        sensors: 60,
        speed: 240.0,
        every: "200ms",
        readings: 100,
        age: "500ms",
        ..PLAIN
    },
    Load {
        name: "killed while it drains",
        every: "200ms",
        age: "100ms",
        fill_bytes: 2_000_000,
        ingest: true,
        kill_s: 3,
        ..PLAIN
    },
];

impl Load {
    /// Writes what a recording starts with: the guest's configuration, `load.env` for the script, and in `card/` what
    /// lies on the disk.
    ///
    /// # Errors
    /// Of the file system and of the buffer.
    pub fn prepare(&self, folder: &Path, seed: u64) -> anyhow::Result<()> {
        let data = folder.join("card").join("gateway");
        fs::create_dir_all(&data)?;
        let text = self.config(seed)?;
        fs::write(folder.join("gateway.toml"), &text)?;
        let environment = format!(
            "name='{}'\nseed={seed}\nfs_mib={}\ndisk_mib={}\nkill={}\nwith_ingest={}\n",
            self.name,
            self.fs_mib,
            self.fs_mib + GAP_MIB,
            self.kill_s,
            u8::from(self.ingest),
        );
        fs::write(folder.join("load.env"), environment)?;
        if self.fill_bytes > 0 {
            let config =
                Config::parse("gateway.toml", &text, folder).context("the load's own configuration")?;
            fill(&data, &config, self.fill_bytes, seed)?;
        }
        Ok(())
    }

    fn config(&self, seed: u64) -> anyhow::Result<String> {
        let broker: SocketAddr = BROKER.parse()?;
        let mut text = street::simulated(0, self.sensors, seed, self.speed, broker);
        // Alarms must come within the short lives of a gateway that is killed.
        for delay in ["2s", "3s"] {
            text = text.replace(&format!("on_delay = \"{delay}\""), "on_delay = \"100ms\"");
        }
        for every in STREET_EVERY {
            text = text.replace(&format!("every = \"{every}\""), &format!("every = \"{}\"", self.every));
        }
        let text = text
            .replace("data = \".\"", &format!("data = \"{DATA}\""))
            .replace("age = \"1s\"", &format!("readings = {}\nage = \"{}\"", self.readings, self.age));
        Ok(format!("{text}\n[buffer]\nquota = \"{} MiB\"\n", self.quota_mib))
    }
}

/// The configuration of a guest for a gateway on this machine that finds no ingest.
pub fn alone(text: &str, data: &Path) -> String {
    text.replace(DATA, &data.display().to_string()).replace(BROKER, "127.0.0.1:1")
}

/// Keeps frames of random readings, as an outage would have left them.
fn fill(data: &Path, config: &Config, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let mut random = Rng::with_seed(seed);
    let mut city = Gateway::new("fill", 0, 8, seed, 1_000_000, Habits::default())?;
    let time = Timekeeper::start();
    let opened = buffer::open(data, &config.id, config.quota_bytes, move || time.stamp())?;
    let mut filled = 0;
    while filled < bytes {
        let mut batch = city.batch(FILL_READINGS);
        for reading in &mut batch.readings {
            reading.value = reading.value.map(|_| random.f64());
        }
        let payload = Payload::Readings(batch);
        let frames = pack(&config.id, 1, 1, payload.clone())?;
        filled += frames.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
        opened.buffer.keep_blocking(payload, Vec::new())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(opened.buffer.stop());
    anyhow::ensure!(opened.thread.join().is_ok(), "the buffer ended in a panic");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_is_a_configuration_that_the_gateway_takes() {
        for load in LOADS {
            let text = load.config(3).unwrap();
            for text in [alone(&text, Path::new("/somewhere")), text] {
                Config::parse(load.name, &text, Path::new("/")).unwrap();
            }
        }
    }
}
