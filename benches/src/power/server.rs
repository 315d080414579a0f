//! The real ingest as a process: started, listened to, killed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

/// How long it may take until it serves, and how long a clean stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(5);

/// Files are written and merged all the time, so that every cut hits one of them; little of the log is kept, so that it
/// is retired too.
pub const CONFIG: &str = "[log]\nsegment = \"2 MiB\"\nkeep_bytes = \"2 MiB\"\n\
                          [pool]\nparquet_every = \"200ms\"\nparquet_rows = 2000\nwindows_every = \"500ms\"\n\
                          compact_core_percent = 100\ncompact_per_second = \"64 MiB\"\n";

/// What to start.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The program.
    pub program: PathBuf,
    /// Where it listens for MQTT; port 0 takes a free one.
    pub mqtt: SocketAddr,
    /// Its configuration, without the folder.
    pub config: PathBuf,
    /// Its folder.
    pub data: PathBuf,
    /// Where what it says goes.
    pub log: PathBuf,
    /// A library that takes the place of some calls of the system's, to show that the rig can fail.
    pub preload: Option<PathBuf>,
}

/// A running ingest; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    since: Instant,
}

#[allow(clippy::disallowed_methods)] // the rig that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

impl Ingest {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&self) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--http", "127.0.0.1:0", "--mqtt", &self.mqtt.to_string(), "--config"]);
        command.arg(&self.config).arg("--data").arg(&self.data).env("NO_COLOR", "1");
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        let child = command.stdin(Stdio::null()).stderr(File::create(&self.log)?).spawn()?;
        Ok(Running { child, log: self.log.clone(), since: now() })
    }
}

/// Where it serves MQTT, out of what it said.
fn served(said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once("ingest is serving mqtt=\"")?;
    rest.split_once('"')?.0.parse().ok()
}

impl Running {
    /// Waits until it serves: where, and how long that took since its start.
    ///
    /// # Errors
    /// When it ends instead, or takes longer than a minute.
    pub fn ready(&mut self) -> anyhow::Result<(SocketAddr, Duration)> {
        loop {
            if let Some(address) = served(&self.said()?) {
                return Ok((address, self.since.elapsed()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it did not start, {status}: {}", self.said()?);
            }
            ensure!(self.since.elapsed() < PATIENCE, "it does not serve: {}", self.said()?);
            thread::sleep(LOOK);
        }
    }

    /// What it said so far.
    ///
    /// # Errors
    /// Of the file system.
    pub fn said(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "it ended by itself: {}", self.said()?);
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop in order, which puts everything into Parquet, and waits.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        let start = now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(start.elapsed() < PATIENCE, "it does not stop: {}", self.said()?);
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_address_is_found_in_what_it_says() {
        let said =
            "T INFO ingest::server: ingest is serving mqtt=\"127.0.0.1:41\" http=127.0.0.1:42 data=/d\n";
        assert_eq!(served(said), Some("127.0.0.1:41".parse().unwrap()));
        assert_eq!(served("T INFO other: words\n"), None);
    }

    #[test]
    fn ingest_takes_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingest.toml");
        fs::write(&path, CONFIG).unwrap();
        ingest::config::Config::load(&path, &ingest::config::Overrides::default()).unwrap();
    }
}
