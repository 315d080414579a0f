//! The command itself: teaches, checks, refuses, stops.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn ingest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ingest")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_teaches() {
    let help = ingest(&["--help"]);
    assert!(help.status.success());
    for word in ["serve", "check", "mosquitto_pub", "loopback"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    assert!(text(&ingest(&["serve", "--help"]).stdout).contains("receipts = true"));
    let query = text(&ingest(&["query", "--help"]).stdout);
    for word in
        ["cells", "series", "top", "coverage", "ingest query series caotang-03:hall.t --last 24h", "盲区"]
    {
        assert!(query.contains(word), "{word}");
    }
}

#[test]
fn check_reports_every_mistake_and_exits_64() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("ingest.toml");
    std::fs::create_dir(folder.path().join("maps")).unwrap();
    std::fs::write(folder.path().join("maps/a.toml"), "source = 'A'\n").unwrap();
    std::fs::write(&path, "[mqtt]\nlisten = '0.0.0.0:1883'\nconections = 5\n[senml]\nmappings = 'maps'\n")
        .unwrap();
    let bad = ingest(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(64));
    let said = text(&bad.stderr);
    for expected in [
        "mqtt.listen: 0.0.0.0:1883 can be reached",
        "did you mean \"connections\"?",
        "\"A\" is not a gateway id",
        "map: no rule",
    ] {
        assert!(said.contains(expected), "{expected:?} not in:\n{said}");
    }
    std::fs::write(&path, "[mqtt]\nlisten = '127.0.0.1:1883'\n").unwrap();
    assert!(ingest(&["check", "--config", path.to_str().unwrap()]).status.success());
    assert_eq!(ingest(&["check", "--config", "/nowhere/ingest.toml"]).status.code(), Some(64));
}

#[test]
fn without_tls_nothing_but_loopback_is_served() {
    for arguments in [["serve", "--http", "0.0.0.0:0"], ["serve", "--mqtt", "0.0.0.0:0"]] {
        let refused = ingest(&arguments);
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}");
        assert!(text(&refused.stderr).contains("TLS is not built yet"), "{}", text(&refused.stderr));
    }
}

#[test]
fn it_serves_without_a_file_and_stops_when_told() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("city");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ingest"))
        .args(["serve", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", data.to_str().unwrap()])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ingest is serving")));
    assert!(data.join("log").is_dir());
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert!(lines.any(|line| line.contains("stopped")));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
