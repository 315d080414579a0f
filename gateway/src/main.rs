//! `gateway`: run, check, status, inspect, seal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use gateway::Config;
use gateway::clock::Machine;
use gateway::notify::Manager;
use gateway::quiet::Quiet;
use gateway::status::{Status, Words};

use tracing_subscriber::prelude::*;

mod autopsy;
mod sealed;
mod summary;

/// The configuration is wrong (`EX_USAGE` of sysexits.h): starting again does not help.
const WRONG_CONFIG: u8 = 64;
/// The machine refused: starting again may help.
const COULD_NOT_START: u8 = 1;
/// The buffer is damaged or has an unexplained gap (`EX_DATAERR` of sysexits.h).
const NOT_SOUND: u8 = 65;

/// The Watchfire gateway: reads sensors, judges them, keeps every reading through power cuts and dead networks,
/// and ships it to ingest over MQTT 5.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
First steps:
  gateway check --config configs/gateway.toml    every mistake of the file at once, or what it would do
  gateway run --config configs/gateway.toml      until Ctrl-C; what is not shipped waits for the next start
  gateway status --config configs/gateway.toml   how the running one is
  gateway inspect --data /media/card/gateway     what lies in the buffer of a dead one
  gateway seal --help                            the smart seal on it

Exit codes: 0 fine, 64 the configuration is wrong, 1 could not start, is not running or cannot be looked at,
65 the inspected buffer is damaged or has a gap that no loss record explains, 75 start me again.
Logs go to stderr; RUST_LOG=gateway=debug says more."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGINT or SIGTERM.
    Run(File),
    /// Read the file, report every mistake, say what it would do. Touches no bus and no network.
    Check(File),
    /// Show how the gateway with this file is doing.
    Status(File),
    /// Show what lies in the buffer of a gateway that does not run, such as one on a dead box's card. Works on a
    /// copy in the folder for temporary files (TMPDIR) and changes nothing: the card may be mounted read-only.
    Inspect(Folder),
    /// 智能印章 The smart seal on this gateway: make its key, see how it is, bring a grant, stamp.
    #[command(subcommand)]
    Seal(sealed::Command),
}

#[derive(clap::Args)]
struct File {
    /// The configuration file, as in configs/gateway.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct Folder {
    /// The data folder: `data` in the gateway's configuration.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// For programs.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(file) => with_config(&file, run),
        Command::Check(file) => with_config(&file, |config| check(&config)),
        Command::Status(file) => with_config(&file, |config| status(&config)),
        Command::Inspect(folder) => inspect(&folder),
        Command::Seal(command) => sealed::run(command),
    }
}

fn with_config(file: &File, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match Config::load(&file.config) {
        Ok(config) => act(config),
        Err(problems) => {
            complain(&format!(
                "配置有 {n} 处错误 {n} mistakes in the configuration:\n{problems}",
                n = problems.0.len()
            ));
            ExitCode::from(WRONG_CONFIG)
        }
    }
}

fn run(config: Config) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let quiet = Quiet::default();
    let words = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(quiet.clone());
    tracing_subscriber::registry().with(filter).with(words).init();
    // One thread carries the network and the timers of a box with one core; buses and disk have their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("无法启动 could not start: {error}"));
            return ExitCode::from(COULD_NOT_START);
        }
    };
    let manager = Manager::from_environment();
    let ended = runtime.block_on(async {
        tokio::spawn(quiet.sum_up());
        gateway::run_under(manager.clone(), Arc::new(Machine), config, signalled()).await
    });
    // A disk that never answers must not keep the process from ending.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ gateway::RunError::Stuck) => {
            complain(&error.to_string());
            ExitCode::from(gateway::ladder::STUCK)
        }
        Err(error) => {
            manager.status(&format!("无法启动 could not start: {error}"));
            complain(&format!("无法启动 could not start: {error}"));
            ExitCode::from(COULD_NOT_START)
        }
    }
}

/// Ready at SIGINT or SIGTERM. The handlers stand when this returns, not only when the future is first polled: a
/// signal during start-up must stop in order too.
fn signalled() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let handlers = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
    async move {
        match handlers {
            Ok((mut interrupt, mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                // Without handlers the signals end the process at once, which the buffer is made for.
                tracing::warn!(%error, "signals cannot be watched: a stop will not be clean");
                std::future::pending().await
            }
        }
    }
}

fn check(config: &Config) -> ExitCode {
    let mut problems = Vec::new();
    if let Err(errors) = boards::plan::plan(&config.devices) {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    if let Some(seal) = &config.seal
        && let Err(error) = gateway::seal::key::load(&seal.key)
    {
        problems.push(error.to_string());
    }
    if !problems.is_empty() {
        complain(&format!(
            "配置有 {n} 处错误 {n} mistakes in the configuration:\n{}",
            problems.join("\n"),
            n = problems.len()
        ));
        return ExitCode::from(WRONG_CONFIG);
    }
    answer(&summary::of(config));
    ExitCode::SUCCESS
}

fn status(config: &Config) -> ExitCode {
    match Status::read(&config.data) {
        Ok(status) => {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            answer(&Words(&status, now_ms).to_string());
            if status.is_live(now_ms) { ExitCode::SUCCESS } else { ExitCode::from(COULD_NOT_START) }
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(COULD_NOT_START)
        }
    }
}

fn inspect(folder: &Folder) -> ExitCode {
    match gateway::buffer::inspect(&folder.data, |_, _, _| {}) {
        Ok(found) => {
            answer(&if folder.json { autopsy::json(&found) } else { autopsy::words(&found) });
            if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(NOT_SOUND) }
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(COULD_NOT_START)
        }
    }
}

/// Prints the result a person asked for.
#[allow(clippy::print_stdout, reason = "the command line's answer belongs on stdout")]
fn answer(text: &str) {
    print!("{text}");
}

/// Says what is wrong.
#[allow(clippy::print_stderr, reason = "before logging is set up, and for people")]
fn complain(text: &str) {
    eprintln!("{}", text.trim_end());
}
