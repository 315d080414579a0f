//! Typical questions of a console, put to an ingest that takes in a city (`chengdu`): how long the answers take.
//!
//! Each kind of question has a thread of its own and comes at a steady rate, about another place each time. The time
//! counts from when a question was due, so that one slow answer is not kept from the books by the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::chengdu::{City, MAX_DEVICES};
use benches::city::SEED;
use benches::http::{self, escape};
use benches::listener::now_us;
use benches::table::Table;
use clap::Parser;
use configs::Catalogue;
use ingest::cell::Cell;
use serde_json::Value;

/// Puts five typical questions to an ingest that `chengdu` fills, and says how long the answers took.
///
/// 在 chengdu 运行期间，以固定频率向 ingest 提出五种典型查询，并报告应答时间。
#[derive(Parser)]
#[command(after_help = "\
Example, a minute after `chengdu --gateways 250 --minutes 3` was started:
  ask --gateways 250 --seconds 60")]
struct Args {
    /// HTTP address of ingest, on loopback.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Gateways, as given to `chengdu`.
    #[arg(long, default_value_t = 5_500)]
    gateways: u32,
    /// Devices of each gateway, as given to `chengdu`.
    #[arg(long, default_value_t = MAX_DEVICES)]
    devices: u32,
    /// Seed, as given to `chengdu`.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// How long to ask.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Questions of each kind in a second.
    #[arg(long, default_value_t = 2)]
    per_second: u32,
}

/// The kinds of questions.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Cells,
    SensorHour,
    CellDay,
    Top,
    Coverage,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Cells, Self::SensorHour, Self::CellDay, Self::Top, Self::Coverage];

    fn text(self) -> &'static str {
        match self {
            Self::Cells => "newest cells of a district, precision 6",
            Self::SensorHour => "an hour of a sensor",
            Self::CellDay => "24 hours of a cell, precision 6",
            Self::Top => "top 20 cells of the city",
            Self::Coverage => "blind spots of a district",
        }
    }

    /// A question about some gateway, and where the answer has its list.
    fn ask(self, city: &City, gateway: u32, now_ms: i64) -> anyhow::Result<(String, &'static str)> {
        let batch = city.batch(gateway, 0, 0)?;
        let series = batch.series.get(fastrand::usize(..batch.series.len())).context("no devices")?;
        let quantity = Catalogue::builtin().get(series.quantity).context("no quantity")?.name.clone();
        let bbox = city.bounds(gateway % city.districts()).map(|degrees| format!("{degrees:.6}")).join(",");
        Ok(match self {
            Self::Cells => (format!("/api/v1/cells?quantity={quantity}&precision=6&bbox={bbox}"), "cells"),
            Self::SensorHour => {
                let id = escape(&format!("{}:{}", city.id(gateway)?, series.sensor));
                (format!("/api/v1/sensors/{id}/series?from={}", now_ms - 3_600_000), "points")
            }
            Self::CellDay => {
                let place = batch.places.get(usize::from(series.place)).context("no place")?;
                let cell = Cell::at_e7(place.lat_e7, place.lon_e7, 6);
                let from = now_ms - 86_400_000;
                (format!("/api/v1/cells/{cell}/series?quantity={quantity}&from={from}"), "points")
            }
            Self::Top => (format!("/api/v1/cells/top?quantity={quantity}&limit=20&precision=7"), "cells"),
            Self::Coverage => (format!("/api/v1/coverage?bbox={bbox}&precision=7"), "blind"),
        })
    }
}

/// What the answers to one kind of question were.
#[derive(Default)]
struct Answers {
    took_us: Vec<u64>,
    items: usize,
    empty: usize,
    cut: usize,
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn put(args: &Args, city: &City, kind: Kind, start: Instant) -> anyhow::Result<Answers> {
    let every = Duration::from_secs(1) / args.per_second;
    let mut answers = Answers::default();
    for number in 0..args.seconds as u32 * args.per_second {
        // Not all kinds at once.
        let due = start + every * number + every * (kind as u32) / Kind::ALL.len() as u32;
        let gateway = fastrand::u32(..city.gateways());
        let (path, list) = kind.ask(city, gateway, (now_us() / 1_000) as i64)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let answer = http::request(args.http, "GET", &path, None)?;
        answers.took_us.push(due.elapsed().as_micros() as u64);
        if answer.status != 200 {
            bail!("GET {path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let body: Value = serde_json::from_slice(&answer.body)?;
        let items = body[list].as_array().map_or(0, Vec::len);
        answers.items += items;
        answers.empty += usize::from(items == 0);
        answers.cut += usize::from(body["truncated"] == true);
    }
    Ok(answers)
}

fn row(kind: Kind, mut answers: Answers) -> Vec<String> {
    let first = answers.took_us.first().copied().unwrap_or(0);
    let count = answers.took_us.len().max(1);
    answers.took_us.sort_unstable();
    let at = |q: f64| answers.took_us.get(((count - 1) as f64 * q).round() as usize).copied().unwrap_or(0);
    let ms = |us: u64| format!("{:.1}", us as f64 / 1_000.0);
    vec![
        kind.text().into(),
        count.to_string(),
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0)),
        ms(first),
        format!("{:.1}", answers.items as f64 / count as f64),
        answers.empty.to_string(),
        answers.cut.to_string(),
    ]
}

#[allow(clippy::print_stdout, clippy::disallowed_methods)] // the results; the program that drives owns the clock
fn main() -> anyhow::Result<()> {
    let args = Arc::new(Args::parse());
    ensure!(args.http.ip().is_loopback(), "this program only ever asks loopback");
    ensure!(
        args.gateways >= 1 && args.devices >= 6 && args.per_second >= 1,
        "a city has devices, and questions"
    );
    let city = Arc::new(City::new(args.seed, args.gateways, args.devices, 0)?);
    let start = Instant::now();
    let mut threads = Vec::new();
    for kind in Kind::ALL {
        let (args, city) = (Arc::clone(&args), Arc::clone(&city));
        threads.push((kind, thread::spawn(move || put(&args, &city, kind, start))));
    }
    let mut table =
        Table::new(&["question", "asked", "p50 ms", "p99 ms", "max ms", "first ms", "items", "empty", "cut"]);
    for (kind, thread) in threads {
        let answers = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        table.row(row(kind, answers));
    }
    print!("{}", table.text());
    println!("the thread that takes readings in, since ingest started:");
    let metrics = http::request(args.http, "GET", "/metrics", None)?;
    for line in String::from_utf8_lossy(&metrics.body).lines() {
        if let Some(line) = line.strip_prefix("watchfire_ingest_question") {
            println!("  question{line}");
        }
    }
    Ok(())
}
