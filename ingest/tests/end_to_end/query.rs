//! `ingest query` against a running ingest: what it prints, where to, and what it says when it cannot.

use std::process::{Command, Output};

use serde_json::json;
use wire::Lane;

use crate::vocabulary::*;

/// Runs the command beside a city.
async fn query(http: &str, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest"));
    command.args(["query", "--http", http]).args(words.split(' '));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_printed_for_people_and_for_programs() {
    let city = City::start().await;
    let http = city.http().to_string();
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let minute = (now_ms() - 120_000) / 60_000 * 60_000;
    let frame = readings_until("caotang-03", 1, &[20.0, 21.0, 22.5], minute + 30_000);
    assert_eq!(gateway.publish(&up("caotang-03", Lane::Reading), &frame).await, Ok(()));
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(3)).await;
    let cell = city.get("/api/v1/sensors/caotang-03:hall.t").await["cell"].as_str().unwrap()[..6].to_owned();

    let table = query(&http, "series caotang-03:hall.t --last 1h").await;
    assert!(table.status.success(), "{}", text(&table.stderr));
    let said = text(&table.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "caotang-03:hall.t · air-temperature · Cel · step 1m");
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[2].contains("21.1667   20  22.5     20  22.5"), "{said}");

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("cells.csv");
    let words = format!("cells air-temperature --window 1h --format csv --output {}", path.display());
    let csv = query(&http, &words).await;
    assert!(csv.status.success() && csv.stdout.is_empty(), "{}", text(&csv.stderr));
    let written = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<&str> = written.split("\r\n").collect();
    assert!(rows[0].starts_with("cell,start,count,mean"), "{written}");
    assert!(
        rows[1].starts_with(&format!("{cell},")) && rows[1].contains(",21.166666666666668,"),
        "{written}"
    );

    for (words, expected) in [
        (format!("series {cell} --quantity air-temperature --step 1h --last 3h"), "21.1667"),
        ("top air-temperature --window 1h --by max --limit 3".to_owned(), cell.as_str()),
        ("coverage --patience 1s --precision 6".to_owned(), "sensors 1 · cells with sensors 1 · blind 1"),
        ("coverage --bbox 0,0,1,1".to_owned(), "nothing"),
    ] {
        let answer = query(&http, &words).await;
        assert!(answer.status.success(), "{words}: {}", text(&answer.stderr));
        assert!(text(&answer.stdout).contains(expected), "{words}:\n{}", text(&answer.stdout));
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained_on_stderr() {
    let city = City::start().await;
    let http = city.http().to_string();
    for (http, words, code, expected) in [
        (http.as_str(), "cells happiness", 64, "GET /api/v1/quantities lists what is"),
        (&http, "series nobody:x", 64, "there is no sensor \"nobody:x\""),
        (&http, "series wm3yr1", 64, "quantity: missing"),
        (&http, "top rainfall --limit 5000", 64, "a whole number from 1 to 1000 expected"),
        (&http, "coverage --output /nowhere/x.csv", 1, "/nowhere/x.csv cannot be written"),
        ("127.0.0.1:1", "coverage", 1, "Is `ingest serve` running there?"),
        (&http, "coverage --patience", 2, "a value is required"),
    ] {
        let answer = query(http, words).await;
        assert_eq!(answer.status.code(), Some(code), "{words}: {}", text(&answer.stderr));
        assert!(text(&answer.stderr).contains(expected), "{words}: {}", text(&answer.stderr));
        assert!(answer.stdout.is_empty(), "{words}");
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_warns() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let values = vec![20.0; 3_000];
    for sequence in 1..=4 {
        let until = now_ms() - (4 - sequence as i64) * 3_000_000;
        let frame = readings_until("caotang-03", sequence, &values, until);
        assert_eq!(gateway.publish(&up("caotang-03", Lane::Reading), &frame).await, Ok(()));
    }
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(12_000)).await;
    let words = "series caotang-03:hall.t --last 5h --step raw --format csv";
    let answer = query(&city.http().to_string(), words).await;
    assert!(answer.status.success());
    assert!(text(&answer.stderr).contains("the answer was cut"), "{}", text(&answer.stderr));
    assert_eq!(text(&answer.stdout).lines().count(), 10_001);
    city.stop().await;
}
