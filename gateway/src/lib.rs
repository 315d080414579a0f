//! The daemon on the box: sample → judge → buffer → ship.
//!
//! ```text
//! bus threads ──samples──► pipeline thread ──payloads──► buffer thread (sled)
//!                          judge, rules, batch              │ heads     ▲ forget, set aside
//!                                                           ▼           │
//!                          watch task ──health──►      courier task (ship) ◄──► mqtt (rumqttc) ──► broker
//! ```
//! Every arrow is a bounded queue. Decisions are made in pure modules that take `now` as an argument; threads and
//! tasks only carry them out.
//!
//! # Layout
//! - [`config`]: the file, read once into types that cannot be wrong
//! - [`clock`]: boot, monotonic time, and what is known of the wall clock
//! - [`floor`]: a wall time that has certainly passed, kept over restarts
//! - [`sample`]: a thread for each bus
//! - [`judge`]: quality and alarm rules (pure)
//! - [`batch`]: readings gathered, payloads packed into frames (pure)
//! - [`pipeline`]: the thread that owns judge, rules and batch
//! - [`buffer`]: what survives a power cut; essay at its top; the only place that names sled
//! - [`seal`]: a smart seal: the one thing here that moves; and the mail of seals that are devices of their own
//! - [`ship`]: what to send, when to give up, what to forget (pure)
//! - [`ladder`]: what to do when ingest stays silent for long (pure)
//! - [`courier`]: the task that carries out what `ship` says
//! - [`mqtt`]: the client; the only place that names rumqttc
//! - [`vitals`]: the box itself; [`trend`]: rates, and how long the buffer lasts (pure)
//! - [`status`]: what `gateway status` shows
//! - [`life`]: whether it still makes progress (pure); [`notify`]: what the service manager is told
//! - [`quiet`]: a message that comes again and again is counted

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::{oneshot, watch as watched};

pub mod batch;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod courier;
mod discover;
pub mod floor;
pub mod judge;
pub mod ladder;
pub mod life;
pub mod mqtt;
pub mod notify;
pub mod pipeline;
pub mod quiet;
pub mod sample;
pub mod seal;
pub mod ship;
pub mod status;
#[cfg(test)]
mod testing;
pub mod trend;
pub mod vitals;
mod watch;

pub use config::Config;

use batch::Batcher;
use judge::{Judge, Rules};
use notify::Manager;
use pipeline::{Pipeline, PipelineFigures};
use trend::Trend;
use vitals::Vitals;

/// The rate that the buffer fills at is that of the last hour, in steps of five minutes, in ms…
const KEPT_EVERY_MS: u64 = 300_000;
const KEPT_SAMPLES: usize = 13;
/// …and told after a minute.
const KEPT_LEAST_MS: u64 = 60_000;
/// How long a stop waits for the broker to take what is left, at most.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long a stop waits for threads that may be stuck in a bus or on a disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The board or its buses; each line says what to do.
    #[error("the board cannot be opened:\n{}", lines(.0))]
    Board(Vec<boards::OpenError>),
    /// The buffer.
    #[error(transparent)]
    Buffer(#[from] buffer::OpenError),
    /// Ingest was silent for so long that the process wants to be started again; see [`ladder`].
    #[error(
        "平台长时间无应答，进程将重启 ingest has been silent for too long: this process ends to be started again"
    )]
    Stuck,
    /// The operating system has no room for a thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

fn lines(errors: &[boards::OpenError]) -> String {
    errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n")
}

/// Runs a gateway until `shutdown` is ready, then stops it: closes batches, commits, and gives the broker
/// [`GRACE`] to take what is left. What it does not take waits for the next start.
///
/// # Errors
/// [`RunError`] when it could not start. Once it runs, it goes on over every trouble.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    run_under(Manager::none(), Arc::new(clock::Machine), config, shutdown).await
}

/// The same under a service manager, which is told of start, signs of life and stop, and by the given clocks.
///
/// # Errors
/// [`RunError`].
pub async fn run_under(
    manager: Manager,
    clocks: Arc<dyn clock::Clocks>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let time = clock::Timekeeper::start_after(floor::load(&config.data), clocks);
    let buses = boards::open(&config.board, &config.devices).map_err(RunError::Board)?;
    let stamp = time.clone();
    let opened = buffer::open(&config.data, &config.id, config.quota_bytes, move || stamp.stamp())?;
    let buffer = opened.buffer;

    let mut rules = Rules::new(&config.rules, &config.sensors, time.boot());
    let orphans = rules.restore(opened.rules, time.now_ms());
    let speed = match config.board {
        boards::Board::Simulated { speed, .. } => speed,
        boards::Board::Linux | boards::Board::Raspberry => 1.0,
    };
    let stop_sampling = sample::Stop::default();
    let figures = Arc::new(PipelineFigures::default());
    let pipeline = Pipeline {
        judge: Judge::new(&config.sensors, speed, time.now_ms()),
        rules,
        batcher: Batcher::new(config.batch, time.boot(), time.stamp().clock, &config.sensors),
        buffer: buffer.clone(),
        time: time.clone(),
        stop: stop_sampling.clone(),
        figures: Arc::clone(&figures),
    };
    if buffer.try_keep(watch::announcement(&config, &time)).is_err() {
        tracing::warn!("the disk does not answer: the announcement is given up");
    }
    let (samples, polled) = sync_channel(sample::POLLS);
    let buses = sample::start(buses, &time, &stop_sampling, &samples)?;
    // Only the buses hold it now, so the pipeline sees their end.
    drop(samples);
    let (pipeline_ended, pipeline_end) = oneshot::channel();
    std::thread::Builder::new().name("pipeline".into()).spawn(move || {
        // The buffer may have stopped already; then there is nobody to tell.
        let _ = pipeline.raise(orphans);
        pipeline.run(&polled);
        let _ = pipeline_ended.send(());
    })?;

    let stop_sealing = sample::Stop::default();
    let sealing = match config.has_seals() {
        false => None,
        true => match seal::start(&config, &buffer, &time, &stop_sealing).await {
            Ok(running) => Some(running),
            Err(error) => {
                // Whoever waits for an alarm must not wait for a camera.
                tracing::error!(%error, "印章无法启动，其他功能照常 the seal cannot be started: everything else goes on without it");
                None
            }
        },
    };
    let (stop, stopping) = watched::channel(false);
    let window = courier::Window::default();
    let mut shipping = tokio::spawn(courier::ship(
        config.clone(),
        buffer.clone(),
        time.clone(),
        window.clone(),
        stopping.clone(),
        GRACE,
        sealing.as_ref().map(|running| running.link.clone()),
    ));
    let watcher = watch::Watch {
        config: config.clone(),
        time: time.clone(),
        buffer: buffer.clone(),
        shipping: window,
        pipeline: figures,
        buses,
        manager: manager.clone(),
        status_folder: status::folder(&config.data, manager.folder()),
        vitals: Vitals::new(Path::new("/"), &config.data),
        kept: Trend::new(KEPT_EVERY_MS, KEPT_SAMPLES, KEPT_LEAST_MS),
        seals: sealing.as_ref().filter(|_| !config.seal_lines.is_empty()).map(|running| running.link.clone()),
        starts: floor::count_start(&config.data),
    };
    let watching = tokio::spawn(watcher.run(stopping));
    tracing::info!(gateway = %config.id, sensors = config.sensors.len(), rules = config.rules.len(), broker = %config.broker, "running");

    manager.ready("正在运行 running");

    let climbed = tokio::select! {
        () = shutdown => None,
        ended = &mut shipping => ended.ok().flatten(),
    };
    manager.stopping();
    tracing::info!(gateway = %config.id, "stopping");
    stop_sampling.stop();
    stop_sealing.stop();
    if let Some(running) = sealing
        && tokio::time::timeout(PATIENCE, running.ended()).await.is_err()
    {
        tracing::error!("印章线程未结束 the thread of the seal does not end: look whether it is closed");
    }
    if tokio::time::timeout(PATIENCE, pipeline_end).await.is_err() {
        tracing::warn!("the pipeline does not end: its last readings are lost");
    }
    // What the pipeline gave last becomes durable, and known to the shipper, before that looks whether it is done.
    let _ = tokio::time::timeout(PATIENCE, buffer.flush()).await;
    let _ = stop.send(true);
    if !shipping.is_finished() {
        let _ = shipping.await;
    }
    let _ = watching.await;
    buffer.stop().await;
    let ended = tokio::task::spawn_blocking(move || opened.thread.join());
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        tracing::warn!("the disk does not answer: the buffer is left as it is");
    }
    match climbed {
        None => Ok(()),
        Some(step) => {
            if step == ladder::Step::Reboot {
                reboot(&config.liveness.reboot);
            }
            Err(RunError::Stuck)
        }
    }
}

/// Starts the program that reboots the box.
fn reboot(command: &[String]) {
    let Some((program, arguments)) = command.split_first() else { return };
    tracing::error!(program, "重启设备 the box is rebooted");
    if let Err(error) = std::process::Command::new(program).args(arguments).spawn() {
        tracing::error!(program, %error, "the program that reboots cannot be started");
    }
}
