//! What the processes of the one command do: the same library calls as the real binaries, stopped by their parent.

use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::supervise::EXIT_CONFIG;

/// A stop that takes longer than this is cut short: the parent may be gone, and nobody else would end it.
const LONGEST_STOP: Duration = Duration::from_secs(30);
/// Exit code when a stop was cut short (sysexits EX_SOFTWARE).
const EXIT_STUCK: i32 = 70;

/// Runs a gateway with the configuration in `config` until told to stop.
pub fn gateway(config: &Path) -> ExitCode {
    start_logging();
    match gateway::Config::load(config) {
        Ok(config) => {
            drive(tokio::runtime::Builder::new_current_thread(), gateway::run(config, told_to_stop()))
        }
        Err(problems) => wrong_config(&problems),
    }
}

/// Runs ingest with the configuration in `config` until told to stop.
pub fn ingest(config: &Path) -> ExitCode {
    start_logging();
    match ingest::config::Config::load(config, &ingest::config::Overrides::default()) {
        Ok(config) => {
            drive(tokio::runtime::Builder::new_multi_thread(), ingest::serve(config, told_to_stop()))
        }
        Err(problems) => wrong_config(&problems),
    }
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    subscriber.with_writer(std::io::stderr).init();
}

fn wrong_config(problems: &configs::Problems) -> ExitCode {
    tracing::error!("the configuration is wrong:\n{problems}");
    ExitCode::from(EXIT_CONFIG as u8)
}

fn drive<E: std::fmt::Display>(
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = Result<(), E>>,
) -> ExitCode {
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work);
    // Whatever still runs is not ours to wait for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("could not start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ready when standard input ends, or at SIGINT or SIGTERM.
async fn told_to_stop() {
    let (ended, end) = oneshot::channel();
    // A blocking read that lasts until the parent closes the pipe or dies: it gets a thread of its own.
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        let _ = ended.send(());
    });
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = end => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => {
            let _ = end.await;
        }
    }
    thread::spawn(|| {
        thread::sleep(LONGEST_STOP);
        tracing::error!("the stop takes too long: cut short");
        std::process::exit(EXIT_STUCK);
    });
}
