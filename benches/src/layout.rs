//! The data folder of the one command: configuration files, logs, and where everything is.
//!
//! ```text
//! watchfire-data/
//!   lock                            held while the command runs
//!   ingest.toml                     written at each start
//!   ingest/                         log, pool, checkpoint, registry
//!   gateways/{name}/gateway.toml    written at each start
//!   gateways/{name}/…               buffer and status of that gateway
//!   logs/{name}.log                 what each process said
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::street;
use crate::supervise::Job;

/// Ports that are tried first.
pub const HTTP_PORT: u16 = 8080;
/// As registered for MQTT.
pub const MQTT_PORT: u16 = 1883;

/// What is to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The data folder.
    pub data: PathBuf,
    /// Where ingest listens for HTTP.
    pub http: SocketAddr,
    /// Where ingest listens for MQTT.
    pub mqtt: SocketAddr,
    /// Simulated gateways.
    pub gateways: usize,
    /// Sensors of all simulated gateways together.
    pub sensors: usize,
    /// Seed of the simulated street.
    pub seed: u64,
    /// Simulated seconds per second.
    pub speed: f64,
    /// Whether this machine is a gateway too.
    pub this_machine: bool,
}

/// Takes the data folder for this process.
///
/// # Errors
/// When another run has it, or it cannot be made.
pub fn lock(data: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(data).with_context(|| format!("the data folder {} cannot be made", data.display()))?;
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "{} is in use by another watchfire: stop it, or take another folder with --data. \
             数据目录正被另一个 watchfire 使用：请先停止它，或用 --data 指定其他目录",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// The address to listen on: the one asked for, else the usual port, else a free one. The second value says
/// whether the usual one was taken.
///
/// # Errors
/// When the one asked for cannot be had.
pub fn choose(asked: Option<SocketAddr>, usual: u16) -> anyhow::Result<(SocketAddr, bool)> {
    if let Some(address) = asked {
        if !address.ip().is_loopback() {
            bail!(
                "{address} can be reached from other machines, and without TLS anybody there could read and forge: \
                 use 127.0.0.1:{port}, and a tunnel (ssh -L) to come from elsewhere. \
                 未启用 TLS，只能监听本机地址：请用 127.0.0.1:{port}，远程访问请用隧道",
                port = address.port()
            );
        }
        let listener = TcpListener::bind(address).with_context(|| {
            format!("{address} cannot be listened on: end what uses it, or choose another port, 0 for any free one")
        })?;
        return Ok((listener.local_addr()?, false));
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, usual)) {
        Ok(listener) => Ok((listener.local_addr()?, false)),
        Err(_) => Ok((TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?, true)),
    }
}

impl Plan {
    /// Names of all gateways that are to run, this machine first.
    pub fn gateway_names(&self) -> Vec<String> {
        let machine = self.this_machine.then(|| street::THIS_MACHINE.to_owned());
        machine.into_iter().chain((0..self.gateways).map(street::gateway_name)).collect()
    }

    /// Folder of a gateway.
    pub fn gateway_folder(&self, name: &str) -> PathBuf {
        self.data.join("gateways").join(name)
    }

    /// Ingest's folder.
    pub fn ingest_folder(&self) -> PathBuf {
        self.data.join("ingest")
    }

    /// Configuration of ingest; `extra` is appended.
    fn ingest_config(&self, extra: &str) -> String {
        format!(
            "# Written by watchfire at each start. 每次启动时由 watchfire 写入\ndata = \"ingest\"\n\n[mqtt]\nlisten = \"{}\"\n\n[http]\nlisten = \"{}\"\n{extra}",
            self.mqtt, self.http
        )
    }

    /// Writes all configuration files; `extra` goes to the end of ingest's.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&self, extra: &str) -> io::Result<()> {
        fs::create_dir_all(&self.data)?;
        fs::write(self.data.join("ingest.toml"), self.ingest_config(extra))?;
        let each = self.sensors / self.gateways.max(1);
        let more = self.sensors % self.gateways.max(1);
        for name in self.gateway_names() {
            let folder = self.gateway_folder(&name);
            fs::create_dir_all(&folder)?;
            let number = (0..self.gateways).find(|&number| street::gateway_name(number) == name);
            let text = match number {
                Some(n) => {
                    street::simulated(n, each + usize::from(n < more), self.seed, self.speed, self.mqtt)
                }
                None => street::this_machine(self.mqtt),
            };
            fs::write(folder.join("gateway.toml"), text)?;
        }
        Ok(())
    }

    /// Ingest as a process of `program` (this one, with its hidden subcommands).
    pub fn ingest_job(&self, program: &Path) -> Job {
        self.job(program, "ingest", "ingest", &self.data.join("ingest.toml"))
    }

    /// A gateway as a process.
    pub fn gateway_job(&self, program: &Path, name: &str) -> Job {
        self.job(program, name, "gateway", &self.gateway_folder(name).join("gateway.toml"))
    }

    fn job(&self, program: &Path, name: &str, role: &str, config: &Path) -> Job {
        Job {
            name: name.into(),
            program: program.into(),
            arguments: vec![role.into(), "--config".into(), config.display().to_string()],
            log: self.data.join("logs").join(format!("{name}.log")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(data: &Path) -> Plan {
        let address: SocketAddr = "127.0.0.1:18831".parse().unwrap();
        Plan {
            data: data.into(),
            http: address,
            mqtt: address,
            gateways: 3,
            sensors: 40,
            seed: 1,
            speed: 1.0,
            this_machine: true,
        }
    }

    #[test]
    fn the_sensors_are_shared_out_and_none_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        plan.write("").unwrap();
        let count = |name: &str| {
            let text = fs::read_to_string(plan.gateway_folder(name).join("gateway.toml")).unwrap();
            text.matches("{ sensor = ").count()
        };
        let names = plan.gateway_names();
        assert_eq!(names, ["this-machine", "caotang-01", "chunxi-01", "caotang-02"]);
        assert_eq!(names[1..].iter().map(|name| count(name)).sum::<usize>(), 40);
    }

    #[test]
    fn a_folder_is_had_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(lock(folder.path()).unwrap_err().to_string().contains("in use"));
        drop(first);
        lock(folder.path()).unwrap();
    }

    #[test]
    fn a_port_in_use_is_replaced_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (found, moved) = choose(None, address.port()).unwrap();
        assert!(moved && found.port() != address.port());
        assert!(choose(Some(address), 1).unwrap_err().to_string().contains("cannot be listened on"));
        assert!(choose(Some("0.0.0.0:8080".parse().unwrap()), 1).unwrap_err().to_string().contains("TLS"));
    }
}
