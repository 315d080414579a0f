//! The one command and the kill rig, end to end: real processes, real sockets, a data folder of their own.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // tests drive

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use benches::{http, process};
use serde_json::Value;

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

struct Street {
    child: Child,
    out: BufReader<ChildStdout>,
    http: SocketAddr,
    greeting: String,
}

impl Street {
    fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchfire"))
            .args(["--mqtt", "127.0.0.1:0", "--gateways", "2", "--sensors", "40", "--speed", "10", "--data"])
            .arg(data)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("Ctrl-C") {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "it ended: {greeting}");
        }
        let after = greeting.split("http://").nth(1).unwrap();
        let http = after.split('/').next().unwrap().parse().unwrap();
        Self { child, out, http, greeting }
    }

    fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{pid}/task/{pid}/children", pid = self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Asks until the answer is good, and gives it.
    fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = http::get_json(self.http, path);
            match answer {
                Ok(value) if good(&value) => return value,
                _ => assert!(Instant::now() < deadline, "{path}: {answer:?}"),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn items(answer: &Value) -> usize {
    answer["items"].as_array().map_or(0, Vec::len)
}

fn audit(data: &Path) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_audit")).arg(data).arg("--backlog-allowed").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn it_shows_readings_and_alarms_ends_well_and_goes_on_from_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let street = Street::start(folder.path(), &["--http", "127.0.0.1:0", "--for", "20s"]);
    street.until("/api/v1/gateways", |answer| items(answer) == 3);
    street.until("/api/v1/alarms?state=all", |answer| items(answer) > 0);
    street.until("/api/v1/sensors?gateway=this-machine", |answer| items(answer) > 0);
    street.until("/api/v1/sensors?gateway=caotang-01", |answer| items(answer) == 20);
    let accepted = |answer: &Value| answer["readings"]["accepted"].as_u64().unwrap();
    let first = accepted(&street.until("/api/v1/stats", |answer| accepted(answer) > 100));
    let (status, said) = street.end();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("读数 readings") && said.contains("stopped, the data is in"), "{said}");
    audit(folder.path());

    let street = Street::start(folder.path(), &["--http", "127.0.0.1:0", "--for", "10s"]);
    // What was there is there again, before anything new can have come.
    let second = accepted(&street.until("/api/v1/stats", |_| true));
    assert!(second >= first, "{second} readings after the second start, {first} before");
    assert!(street.end().0.success());
    audit(folder.path());
}

#[test]
fn a_crashed_child_comes_back_and_nothing_outlives_the_parent() {
    let folder = tempfile::tempdir().unwrap();
    let mut street = Street::start(folder.path(), &["--http", "127.0.0.1:0"]);
    street.until("/api/v1/gateways", |answer| items(answer) == 3);
    let victim = *street.children().last().unwrap();
    let killed = Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap();
    assert!(killed.success());
    let mut line = String::new();
    while !line.contains("已重启 restarted") {
        line.clear();
        assert_ne!(street.out.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let children = street.children();
    assert_eq!(children.len(), 4);
    street.child.kill().unwrap();
    street.child.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while children.iter().any(|pid| process::rss_bytes(*pid).is_some()) {
        assert!(Instant::now() < deadline, "a child outlived its parent");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_port_in_use_is_an_error_only_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_watchfire"))
        .args(["--http", &address, "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--http") && said.contains("cannot be listened on"), "{said}");

    // Ours or somebody else's: the usual port is now taken.
    let _usual = TcpListener::bind("127.0.0.1:8080");
    let street = Street::start(folder.path(), &["--for", "1s"]);
    assert!(street.greeting.contains("port 8080 is in use"), "{}", street.greeting);
    assert!(street.end().0.success());
}

#[test]
fn kills_in_full_flow_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kills"))
        .args([
            "--kills",
            "2",
            "--outage",
            "8",
            "--load",
            "1000",
            "--gateways",
            "2",
            "--sensors",
            "60",
            "--data",
        ])
        .arg(folder.path().join("run"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 lost, 0 doubled"), "{said}");
}
