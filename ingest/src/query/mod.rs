//! `ingest query`: asks a running ingest over its HTTP API and prints the answer as a table, CSV or Arrow.
//!
//! # Layout
//! - here: the questions, as they are typed and as they are asked
//! - [`sheet`]: an answer as rows and columns
//! - [`print`]: those as a table or CSV; [`arrow`]: as an Arrow file

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::client::{self, Answer, escape};

mod arrow;
mod print;
mod sheet;

use sheet::{Column, Sheet};

/// What the whole command says about itself.
pub const EXAMPLES: &str = "\
Examples / 示例:
  ingest query cells air-temperature --bbox 104.0,30.6,104.1,30.7
      the newest minute of each cell 各网格最新一分钟
  ingest query series caotang-03:hall.t --last 24h --format csv --output hall.csv
      a sensor's curve 传感器曲线
  ingest query cells rainfall --window 1h --last 1d --format arrow > rain.arrow
      for Polars, pandas, DuckDB
  ingest query series wm3yr1 --quantity pm2-5 --last 30d --step 1h
      a cell's curve 网格曲线
  ingest query top noise-level --by max --limit 10
      where it is largest 数值最高的网格
  ingest query coverage --patience 10m
      cells whose sensors are all silent or faulty 盲区

Times are RFC 3339 (2026-11-22T08:00:00+08:00) or milliseconds since 1970; answers are in UTC.
An answer that was cut says so on stderr. Exit code 64: the question is wrong; 1: no answer.
For more than 10000 rows read the Parquet files under pool/ in the data folder.";

/// Where to ask, and how to print.
#[derive(Debug, Args)]
pub struct QueryArgs {
    #[command(subcommand)]
    question: Question,
    /// HTTP address of the running ingest 服务地址
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", global = true)]
    http: SocketAddr,
    /// How to print 输出格式
    #[arg(long, value_enum, default_value = "table", global = true)]
    format: Format,
    /// Where to write; standard output when absent 输出文件
    #[arg(long, value_name = "FILE", global = true)]
    output: Option<PathBuf>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// RFC 4180 with a heading
    Csv,
    /// Arrow IPC file, for Polars, pandas, DuckDB
    Arrow,
}

/// A span of time.
#[derive(Debug, Args)]
struct Span {
    /// From here, inclusive
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// To here, exclusive; now when absent
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The last so long instead: 90s, 5m, 2h, 30d
    #[arg(long, value_name = "LENGTH", value_parser = length, conflicts_with_all = ["from", "to"])]
    last: Option<i64>,
}

/// Which cells.
#[derive(Debug, Args)]
struct Where {
    /// west,south,east,north in degrees
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    bbox: Option<String>,
    /// Characters of the geohash: 5 (5 km), 6 (1 km) or 7 (150 m)
    #[arg(long, value_name = "N")]
    precision: Option<String>,
}

/// Which windows of a quantity.
#[derive(Debug, Args)]
struct Windows {
    /// The quantity's word, such as air-temperature
    quantity: String,
    /// Length of a window: 1m, 1h or 1d
    #[arg(long, value_name = "LENGTH")]
    window: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    span: Span,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
enum Question {
    /// Aggregates of a quantity over the cells of a map; without a span the newest window of each cell
    /// 网格聚合
    Cells(Windows),
    /// A sensor or a quantity in a cell over time; the last hour without a span 时间曲线
    Series {
        /// A sensor (gateway:sensor) or a cell (geohash of 5 to 7 characters)
        id: String,
        /// What is measured; for a cell only, and there it must be given
        #[arg(long)]
        quantity: Option<String>,
        /// raw (sensors only), 1m, 1h or 1d; chosen by the span when absent
        #[arg(long)]
        step: Option<String>,
        #[command(flatten)]
        span: Span,
    },
    /// The cells where a quantity is largest; without a span by the newest window of each cell 数值最高的网格
    Top {
        #[command(flatten)]
        windows: Windows,
        /// What decides: last, mean or max
        #[arg(long)]
        by: Option<String>,
        /// How many, 1 to 1000; 20 when absent
        #[arg(long, value_name = "N")]
        limit: Option<String>,
    },
    /// Cells that have sensors, and none with a usable reading of late 盲区：有传感器但均无有效读数的网格
    Coverage {
        /// How old the newest reading may be: 90s, 5m, 2h; 5m when absent
        #[arg(long, value_name = "LENGTH")]
        patience: Option<String>,
        #[command(flatten)]
        place: Where,
    },
}

fn length(text: &str) -> Result<i64, String> {
    crate::http::duration(text)
        .ok_or_else(|| format!("{text:?} found, a length of time like 90s, 5m, 2h or 30d expected"))
}

/// Why there is no answer. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong; ingest says how.
    #[error("{0}")]
    Question(String),
    /// There is no answer, or none that can be used.
    #[error("{0}")]
    Answer(String),
    /// It could not be written.
    #[error("无法写入 {path} cannot be written: {error}")]
    Output {
        /// Where to.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// A parameter of the API, if it is given.
type Parameter = (&'static str, Option<String>);

impl Where {
    fn parameters(self) -> [Parameter; 2] {
        [("bbox", self.bbox), ("precision", self.precision)]
    }
}

impl Windows {
    /// As parameters. `now_ms` is when it is asked.
    fn parameters(self, now_ms: i64) -> Vec<Parameter> {
        let mut parameters = vec![("quantity", Some(self.quantity)), ("window", self.window)];
        parameters.extend(self.place.parameters());
        parameters.extend(self.span.parameters(now_ms));
        parameters
    }
}

impl Span {
    /// As parameters. `now_ms` is when it is asked.
    fn parameters(self, now_ms: i64) -> [Parameter; 2] {
        let from = self.last.map(|length_ms| (now_ms - length_ms).to_string()).or(self.from);
        [("from", from), ("to", self.to)]
    }
}

impl Question {
    /// The path to ask, and what the answer has in columns.
    fn path(self, now_ms: i64) -> (String, &'static str, &'static [Column]) {
        let (path, mut parameters, list, columns) = match self {
            Self::Cells(windows) => {
                ("/api/v1/cells".to_owned(), windows.parameters(now_ms), "cells", sheet::CELLS)
            }
            Self::Series { id, quantity, step, span } => {
                let kind = if id.contains(':') { "sensors" } else { "cells" };
                let mut parameters = vec![("quantity", quantity), ("step", step)];
                parameters.extend(span.parameters(now_ms));
                (format!("/api/v1/{kind}/{}/series", escape(&id)), parameters, "points", sheet::SERIES)
            }
            Self::Top { windows, by, limit } => {
                let mut parameters = windows.parameters(now_ms);
                parameters.extend([("by", by), ("limit", limit)]);
                ("/api/v1/cells/top".to_owned(), parameters, "cells", sheet::TOP)
            }
            Self::Coverage { patience, place } => {
                let mut parameters = vec![("patience", patience)];
                parameters.extend(place.parameters());
                ("/api/v1/coverage".to_owned(), parameters, "blind", sheet::COVERAGE)
            }
        };
        parameters.retain(|(_, value)| value.is_some());
        let pairs: Vec<String> = (parameters.into_iter())
            .map(|(name, value)| format!("{name}={}", escape(&value.unwrap_or_default())))
            .collect();
        let joint = if pairs.is_empty() { "" } else { "?" };
        (format!("{path}{joint}{}", pairs.join("&")), list, columns)
    }
}

/// The JSON of a good answer; what a bad one says, for people.
fn body(answer: &Answer) -> Result<Value, QueryError> {
    let body: Result<Value, _> = serde_json::from_slice(&answer.body);
    match (answer.status, body) {
        (200, Ok(body)) => Ok(body),
        (status, Ok(problem)) if problem["detail"].is_string() => {
            let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
            let said =
                format!("{}: {}\n{}: {}", text("title_zh"), text("detail_zh"), text("title"), text("detail"));
            Err(if (400..500).contains(&status) {
                QueryError::Question(said)
            } else {
                QueryError::Answer(said)
            })
        }
        (status, _) => {
            let shown: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            Err(QueryError::Answer(format!(
                "应答不是 ingest 的 this is no answer of ingest: status {status}, {shown:?}; is --http its address?"
            )))
        }
    }
}

/// Asks and prints. Returns what else there is to say, for stderr. `now_ms` is the wall clock.
///
/// # Errors
/// [`QueryError`].
pub fn run(args: QueryArgs, now_ms: i64) -> Result<Option<String>, QueryError> {
    let QueryArgs { question, http, format, output } = args;
    if format == Format::Arrow && output.is_none() && io::stdout().is_terminal() {
        return Err(QueryError::Question(
            "Arrow 是二进制格式 Arrow is not for a terminal: give --output FILE, or redirect it".to_owned(),
        ));
    }
    let (path, list, columns) = question.path(now_ms);
    let answer = client::request(http, "GET", &path, None).map_err(|error| {
        QueryError::Answer(format!(
            "无法访问 ingest cannot be reached at {http}: {error}. Is `ingest serve` running there? --http gives another address"
        ))
    })?;
    let body = body(&answer)?;
    let sheet = Sheet::of(&body, list, columns);
    let bytes = match format {
        Format::Table => print::table(&sheet).into_bytes(),
        Format::Csv => print::csv(&sheet).into_bytes(),
        Format::Arrow => arrow::file(&sheet).map_err(|error| QueryError::Answer(error.to_string()))?,
    };
    write(output, &bytes)?;
    Ok((body["truncated"] == true).then(|| {
        "结果不完整：数据超出一次应答的上限 the answer was cut: it is more than one answer holds. Ask for less time, a smaller --bbox or a coarser --step".to_owned()
    }))
}

fn write(output: Option<PathBuf>, bytes: &[u8]) -> Result<(), QueryError> {
    let (path, written) = match &output {
        Some(path) => {
            (path.display().to_string(), File::create(path).and_then(|mut file| file.write_all(bytes)))
        }
        None => ("stdout".to_owned(), io::stdout().write_all(bytes)),
    };
    match written {
        // Who read it, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| QueryError::Output { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QueryArgs,
    }

    fn path(line: &str) -> Result<String, String> {
        let words = std::iter::once("query").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.args.question.path(10_000_000).0)
    }

    #[test]
    fn questions_become_paths() {
        for (line, expected) in [
            ("cells rainfall", "/api/v1/cells?quantity=rainfall"),
            (
                "cells rainfall --bbox -1.5,30,2,31 --precision 7 --window 1h",
                "/api/v1/cells?quantity=rainfall&window=1h&bbox=-1.5%2C30%2C2%2C31&precision=7",
            ),
            ("series g:hall.t --last 2h", "/api/v1/sensors/g%3Ahall.t/series?from=2800000"),
            (
                "series wm3yr1 --quantity rainfall --from 2026-11-22T08:00:00+08:00 --step 1h",
                "/api/v1/cells/wm3yr1/series?quantity=rainfall&step=1h&from=2026-11-22T08%3A00%3A00%2B08%3A00",
            ),
            ("top rainfall --by max --limit 5", "/api/v1/cells/top?quantity=rainfall&by=max&limit=5"),
            ("coverage", "/api/v1/coverage"),
            ("coverage --patience 10m --format csv", "/api/v1/coverage?patience=10m"),
        ] {
            assert_eq!(path(line).as_deref(), Ok(expected), "{line}");
        }
        for (line, expected) in [
            ("series g:hall.t --last 2", "90s, 5m, 2h or 30d expected"),
            ("series g:hall.t --last 2h --from 5", "cannot be used with"),
            ("coverage --format xml", "possible values: table, csv, arrow"),
        ] {
            let error = path(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn answers_that_are_none_are_explained() {
        let answer = |status, body: &str| Answer { status, body: body.as_bytes().to_vec() };
        let problem = r#"{"title":"T","title_zh":"题","detail":"D","detail_zh":"详"}"#;
        for (answer, is_question, expected) in [
            (answer(400, problem), true, "题: 详\nT: D"),
            (answer(404, problem), true, "T: D"),
            (answer(503, problem), false, "T: D"),
            (answer(200, "<html>"), false, "status 200, \"<html>\"; is --http its address?"),
            (answer(500, "oops"), false, "status 500"),
        ] {
            let error = body(&answer).unwrap_err();
            assert_eq!(matches!(error, QueryError::Question(_)), is_question, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert_eq!(body(&answer(200, "{}")).unwrap(), serde_json::json!({}));
    }
}
