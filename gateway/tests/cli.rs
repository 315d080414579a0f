//! The program as people use it: exit codes, messages, signals, and `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wire::Lane;

#[allow(dead_code, reason = "each test program uses its part of it")]
mod broker;

use broker::{Broker, Say};

fn gateway(command: &str, config: &Path) -> Command {
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_gateway"));
    gateway.arg(command).arg("--config").arg(config).stdin(Stdio::null()).env("RUST_LOG", "warn");
    gateway
}

fn output(command: &str, config: &Path) -> (i32, String, String) {
    let Output { status, stdout, stderr } = gateway(command, config).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn write_config(folder: &Path, broker: &Broker) -> PathBuf {
    let path = folder.join("gateway.toml");
    let text = format!(
        "[gateway]\nid = 'gw-1'\narea = ''\ndata = 'data'\n[place]\nlat = 30.66\nlon = 104.05\ndatum = 'wgs84'\n\
         [ingest]\nbroker = 'mqtt://{}'\n[board]\nkind = 'simulated'\n[batch]\nage = '100ms'\n\
         [[device]]\nname = 'hall'\nchip = 'sht4x'\nbus = 'i2c-1'\nevery = '50ms'\n\
         outputs = {{ temperature = {{ sensor = 'hall.t' }}, humidity = {{ sensor = 'hall.h' }} }}\n",
        broker.address
    );
    fs::write(&path, text).unwrap();
    path
}

/// A running gateway; one that a failed test leaves behind is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Asks it to stop, and gives back its exit code.
    fn stop(mut self, signal: &str) -> Option<i32> {
        let told = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.0.wait().unwrap().code()
    }
}

fn run(config: &Path) -> Running {
    Running(gateway("run", config).spawn().unwrap())
}

#[test]
fn check_teaches_and_its_exit_code_tells() {
    let folder = TempDir::new().unwrap();
    let path = write_config(folder.path(), &Broker::start());
    let (code, out, _) = output("check", &path);
    assert_eq!(code, 0);
    for part in ["configuration is fine", "hall.t [air-temperature Cel]", "40.0 条读数"] {
        assert!(out.contains(part), "{part} is missing in\n{out}");
    }

    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("'50ms'", "'50'").replace("hall.h", "hall.t").replace("[batch]", "[btch]"))
        .unwrap();
    let (code, out, err) = output("check", &path);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.starts_with("配置有 3 处错误 3 mistakes"), "{err}");
    assert!(err.contains("gateway.toml:13: btch: unknown key: did you mean \"batch\"?"), "{err}");
    assert_eq!(output("run", &path).0, 64, "a wrong file does not run");
    assert_eq!(output("status", &path).0, 64);

    // Two parts at one address: only the whole bus shows it.
    let twice = text.replace("[[device]]", "[[device]]\nname='twin'\nchip='sht4x'\nbus='i2c-1'\nevery='1s'\noutputs={temperature={sensor='twin.t'}}\n[[device]]");
    fs::write(&path, twice).unwrap();
    let (code, _, err) = output("check", &path);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("0x44"), "{err}");
    assert_eq!(output("check", Path::new("/nowhere.toml")).0, 64);
}

#[test]
fn a_signal_stops_it_cleanly_and_status_knows() {
    let (folder, broker) = (TempDir::new().unwrap(), Broker::start());
    let path = write_config(folder.path(), &broker);
    let (code, _, err) = output("status", &path);
    assert_eq!(code, 1);
    assert!(err.contains("has this gateway run since the box started?"), "{err}");

    let running = run(&path);
    broker.next(Lane::Reading);
    std::thread::sleep(Duration::from_millis(1500));
    let (code, out, _) = output("status", &path);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("运行中 running") && out.contains("已连接 connected"), "{out}");
    assert_eq!(output("run", &path).0, 1, "a second one on the same folder could not start");

    assert_eq!(running.stop("-TERM"), Some(0));
}

#[test]
fn a_dead_box_s_buffer_can_be_looked_at() {
    let (folder, broker) = (TempDir::new().unwrap(), Broker::start());
    broker.script(|_| Say::Ack(0));
    let path = write_config(folder.path(), &broker);
    let data = folder.path().join("data");
    let inspect = |more: &[&str]| {
        let mut gateway = Command::new(env!("CARGO_BIN_EXE_gateway"));
        let Output { status, stdout, .. } =
            gateway.arg("inspect").arg("--data").arg(&data).args(more).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap())
    };
    assert_eq!(inspect(&[]).0, 1, "there is none yet");
    let running = run(&path);
    broker.next(Lane::Reading);
    assert_eq!(inspect(&[]).0, 1, "in use");
    assert_eq!(running.stop("-TERM"), Some(0));

    let (code, out) = inspect(&[]);
    assert!(code == 0 && out.contains("reading") && out.contains("次号 next"), "{code}: {out}");
    let (code, out) = inspect(&["--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && found["sound"] == true && found["store"]["lanes"][0]["lane"] == "alarm", "{out}");

    fs::write(data.join("buffer").join("db"), vec![7; 4096]).unwrap();
    let (code, out) = inspect(&[]);
    assert!(code == 65 && out.contains("the store is damaged"), "{code}: {out}");
    assert_eq!(inspect(&["--json"]).0, 65);
}

#[test]
fn kill_9_at_any_moment_loses_no_number_and_changes_no_byte() {
    let (folder, broker) = (TempDir::new().unwrap(), Broker::start());
    let path = write_config(folder.path(), &broker);
    let mut random = fastrand::Rng::with_seed(11);
    // Now and then an answer is lost, so that kills meet frames in flight.
    let mut dice = fastrand::Rng::with_seed(12);
    broker.script(move |_| if dice.u8(..) < 12 { Say::HangUp } else { Say::Ack(0) });
    for _ in 0..10 {
        let running = run(&path);
        broker.next(Lane::Reading);
        std::thread::sleep(Duration::from_millis(random.u64(0..400)));
        drop(running); // kill -9
    }
    broker.script(|_| Say::Ack(0));
    let running = run(&path);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(running.stop("-INT"), Some(0));

    let mut seen: BTreeMap<(u64, u8, u64), Vec<u8>> = BTreeMap::new();
    let mut repeats = 0;
    for publish in broker.heard() {
        let frame = publish.frame();
        let known = seen
            .entry((frame.store, publish.lane() as u8, frame.sequence))
            .or_insert_with(|| publish.payload.clone());
        assert_eq!(*known, publish.payload, "a number names the same bytes for ever");
        repeats += 1;
    }
    repeats -= seen.len();
    let stores: std::collections::BTreeSet<u64> = seen.keys().map(|(store, ..)| *store).collect();
    assert_eq!(stores.len(), 1, "no store was given up");
    for lane in [Lane::Reading, Lane::Health] {
        let sequences: Vec<u64> =
            seen.keys().filter(|(_, l, _)| *l == lane as u8).map(|(.., s)| *s).collect();
        let expected: Vec<u64> = (1..=sequences.len() as u64).collect();
        assert_eq!(sequences, expected, "{lane:?}: every number arrived");
    }
    assert!(repeats > 0, "some were in flight");
}

#[test]
fn the_service_manager_is_told_of_start_life_and_stop() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let (folder, broker) = (TempDir::new().unwrap(), Broker::start());
    let name = format!("watchfire-cli-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).expect("the gateway speaks");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let path = write_config(folder.path(), &broker);
    let start = || {
        let mut command = gateway("run", &path);
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "2000000");
        Running(command.spawn().unwrap())
    };
    let running = start();
    assert!(told().starts_with("READY=1\nSTATUS="), "before anything else");
    for _ in 0..2 {
        assert_eq!(told(), "WATCHDOG=1");
        let status = told();
        assert!(status.starts_with("STATUS=") && status.contains("connected"), "{status}");
    }

    let in_use = start();
    // The signs of life of the first go on meanwhile.
    let why = std::iter::repeat_with(told).find(|message| message.contains("could not start")).unwrap();
    assert!(why.starts_with("STATUS=无法启动") && why.contains("is in use by another gateway"), "{why}");
    drop(in_use);

    assert_eq!(running.stop("-TERM"), Some(0));
    let last = std::iter::repeat_with(told).find(|message| message.starts_with("STOPPING=1"));
    assert!(last.is_some());
    assert!(folder.path().join("data/time-floor").exists(), "saved at the latest at the stop");
}
