//! Alarms beside a backlog, and a small storm, end to end: every one arrives, in order. How fast is for the bench.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn alarms(data: &Path, arguments: &[&str]) -> Output {
    let (what, rest) = arguments.split_first().unwrap();
    let data = data.join("run");
    Command::new(env!("CARGO_BIN_EXE_alarms")).args([what, "--data"]).arg(data).args(rest).output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

#[test]
fn alarms_arrive_in_order_beside_a_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let output = alarms(folder.path(), &["drain", "--presses", "50", "--backlog", "50000"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("50 alarm events") && said.contains("order kept: yes"), "{said}");
}

#[test]
fn alarms_arrive_in_order_over_a_bad_line() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["--bits", "1000000", "--delay-ms", "20", "--loss", "0.05"];
    let run = ["drain", "--boxes", "1", "--presses", "20", "--backlog", "20000"];
    let output = alarms(folder.path(), &[&run[..], &line].concat());
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_storm_is_taken_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = alarms(folder.path(), &["storm", "--clients", "200", "--within", "500ms"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("40000 sent, 40000 accepted"), "{said}");
}
