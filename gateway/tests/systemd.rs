//! The unit files: understood by systemd, and as narrow as they were.

#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Highest exposure that systemd may find, in tenths; it scores from 0 (nothing) to 100 (everything).
const MAX_EXPOSURE: &str = "15";

const UNITS: [&str; 2] = ["watchfire-gateway.service", "watchfire-clock.service"];

/// Runs systemd-analyze; none where there is no systemd.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    let source = Path::new("../configs/systemd");
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("watchfire-gateway");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut texts = Vec::new();
    for unit in UNITS {
        let text = fs::read_to_string(source.join(unit)).unwrap();
        // Only the program's place is not that of a box.
        let text = text.replace("/usr/bin/watchfire-gateway", program.to_str().unwrap());
        fs::write(folder.path().join(unit), &text).unwrap();
        texts.push(text);
    }
    // What the program and its unit must agree on.
    assert!(texts[0].contains("RestartPreventExitStatus=64\n"));
    for unit in UNITS {
        let path = folder.path().join(unit);
        let Some((verified, words)) = analyze(&["verify", path.to_str().unwrap()]) else { return };
        assert!(verified, "{unit}: {words}");
        let unknown =
            words.lines().filter(|line| line.contains("Unknown") || line.contains("Failed to parse"));
        // Keys of systemd 254, as the unit says.
        let unknown: Vec<&str> = unknown.filter(|line| !line.contains("'Restart")).collect();
        assert!(unknown.is_empty(), "{unit}: {unknown:#?}");
    }
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    for with_board in [false, true] {
        let board = folder.path().join("watchfire-gateway.service.d");
        if with_board {
            fs::create_dir(&board).unwrap();
            let drop_in = "watchfire-gateway.service.d/raspberry.conf";
            fs::copy(source.join(drop_in), folder.path().join(drop_in)).unwrap();
        }
        let unit = folder.path().join(UNITS[0]);
        let arguments = ["security", "--offline=true", &threshold, unit.to_str().unwrap()];
        let (narrow, words) = analyze(&arguments).unwrap();
        assert!(narrow, "with the board's drop-in {with_board}: {words}");
    }
}
