//! The one command: ingest, this machine as a gateway, and a simulated street, each a process of its own.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::city::SEED;
use benches::layout::{self, HTTP_PORT, MQTT_PORT, Plan};
use benches::live::Live;
use benches::street::MAX_SENSORS;
use benches::supervise::{self, Event, Worker};
use benches::{http, roles};
use clap::{Parser, Subcommand};
use configs::strict::parse_duration_ms;
use tokio::signal::unix::{SignalKind, signal};

/// How long ingest may take to answer after its start: it may have a log to replay.
const READY: Duration = Duration::from_secs(60);
/// How long gateways, then ingest, may take to stop.
const GATEWAYS_STOP: Duration = Duration::from_secs(15);
const INGEST_STOP: Duration = Duration::from_secs(25);
/// How often children are looked after.
const TEND: Duration = Duration::from_millis(200);
/// How often the counters are shown: in place on a terminal, else as lines.
const SHOW_TERMINAL: Duration = Duration::from_secs(1);
const SHOW_LINES: Duration = Duration::from_secs(5);
/// Most simulated gateways: each is a process.
const MAX_GATEWAYS: usize = 64;

/// 烽燧 Watchfire in one command: ingest with its console, this machine as a gateway, and a simulated street.
///
/// Real drivers read simulated chips in the street: a fire starts within half a minute, water rises a little later.
/// This machine's own sensors and load come from its kernel. Nothing listens outside this machine.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  cargo run --release                              everything, until Ctrl-C; data in ./watchfire-data
  cargo run --release -- --http 127.0.0.1:9000     the console on another port
  cargo run --release -- --gateways 16 --sensors 1600 --data /tmp/city
  cargo run --release -- --for 2min                stops by itself

A second start goes on from the data. Each process logs into DATA/logs; RUST_LOG=debug says more.
按 Ctrl-C 全部停止；再次启动会从已有数据继续；各进程日志在 DATA/logs。"
)]
struct Arguments {
    /// Folder for configuration, data and logs. 数据目录
    #[arg(long, default_value = "watchfire-data", value_name = "DIR")]
    data: PathBuf,
    /// Address of console and API; port 0 takes any free one [default: 127.0.0.1:8080, or a free port]. 控制台地址
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of the MQTT broker [default: 127.0.0.1:1883, or a free port]. MQTT 地址
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Simulated gateways. 模拟网关数
    #[arg(long, default_value_t = 4, value_name = "N")]
    gateways: usize,
    /// Sensors of all simulated gateways together. 模拟传感器总数
    #[arg(long, default_value_t = 200, value_name = "N")]
    sensors: usize,
    /// Simulated seconds per second: 10 sees a fire sooner. 模拟速度
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    speed: f64,
    /// Seed of the simulated street. 模拟种子
    #[arg(long, default_value_t = SEED, value_name = "N")]
    seed: u64,
    /// Stop after this time: 20s, 5min, 2h. 运行时长
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a child process is.
#[derive(Subcommand)]
enum Role {
    /// Ingest, until standard input ends.
    #[command(hide = true)]
    Ingest {
        #[arg(long)]
        config: PathBuf,
    },
    /// A gateway, until standard input ends.
    #[command(hide = true)]
    Gateway {
        #[arg(long)]
        config: PathBuf,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text).ok_or("a number with its unit expected: 20s, 5min, 2h")?;
    Ok(Duration::from_millis(ms))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Ingest { config }) => return roles::ingest(config),
        Some(Role::Gateway { config }) => return roles::gateway(config),
        None => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(street(&arguments)));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchfire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says something to the person at the terminal, over the counters if they are shown.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let clear = if out.is_terminal() { "\r\x1b[2K" } else { "" };
    // The reader may be gone (a closed terminal, `| head`): that must not end the street untidily.
    let _ = writeln!(out, "{clear}{text}");
}

/// Shows the counters: in place on a terminal.
fn show(live: &Live) {
    let mut out = std::io::stdout();
    let _ = if out.is_terminal() {
        // Without wrapping, or each refresh would leave a line behind on a narrow terminal.
        write!(out, "\r\x1b[2K\x1b[?7l{live}\x1b[?7h").and_then(|()| out.flush())
    } else {
        writeln!(out, "{live}")
    };
}

#[allow(clippy::disallowed_methods)] // the loop that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let (gateways, sensors) = (arguments.gateways, arguments.sensors);
    ensure!(gateways <= MAX_GATEWAYS, "--gateways {gateways}: at most {MAX_GATEWAYS}, each is a process");
    ensure!(
        gateways == 0 || (sensors >= 2 * gateways && sensors <= MAX_SENSORS * gateways),
        "--sensors {sensors}: {} to {} for {gateways} gateways",
        2 * gateways,
        MAX_SENSORS * gateways
    );
    ensure!((0.01..=1000.0).contains(&arguments.speed), "--speed {}: 0.01 to 1000", arguments.speed);
    let (http, http_moved) = layout::choose(arguments.http, HTTP_PORT).context("--http")?;
    let (mqtt, mqtt_moved) = layout::choose(arguments.mqtt, MQTT_PORT).context("--mqtt")?;
    for (moved, usual, found) in [(http_moved, HTTP_PORT, http), (mqtt_moved, MQTT_PORT, mqtt)] {
        if moved {
            say(&format!("端口 {usual} 已被占用，改用 {found} · port {usual} is in use, taking {found}"));
        }
    }
    Ok(Plan {
        data: arguments.data.clone(),
        http,
        mqtt,
        gateways,
        sensors,
        seed: arguments.seed,
        speed: arguments.speed,
        this_machine: true,
    })
}

async fn street(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let started = now();
    let _lock = layout::lock(&arguments.data)?;
    let plan = plan(arguments)?;
    plan.write("").with_context(|| plan.data.display().to_string())?;
    let program = std::env::current_exe()?;
    // Before the first child: Ctrl-C from here on is a request, not an end.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            () = sleep_until_end(arguments.run_for) => {}
        }
    };
    tokio::pin!(stop);

    let mut ingest = [Worker::new(plan.ingest_job(&program))];
    let mut gateways: Vec<Worker> =
        plan.gateway_names().iter().map(|name| Worker::new(plan.gateway_job(&program, name))).collect();
    ingest[0].start(now()).context("ingest could not be started")?;
    let ready = tokio::select! {
        ready = wait_ready(&mut ingest[0], plan.http) => Some(ready),
        () = &mut stop => None,
    };
    if let Some(ready) = ready {
        ready?;
        for gateway in &mut gateways {
            gateway.start(now()).with_context(|| format!("{} could not be started", gateway.job.name))?;
        }
        greet(&plan, started);
        tokio::select! {
            result = look_after(&plan, &mut ingest, &mut gateways) => result?,
            () = &mut stop => {}
        }
    }

    say("正在停止 stopping …");
    // Gateways first: what they still have can then be taken.
    let mut stubborn = supervise::stop(&mut gateways, GATEWAYS_STOP);
    stubborn.extend(supervise::stop(&mut ingest, INGEST_STOP));
    if !stubborn.is_empty() {
        say(&format!(
            "未能按时停止，已强制结束 did not stop in time and were killed: {}",
            stubborn.join(", ")
        ));
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("已停止，数据在 stopped, the data is in {}", plan.data.display()));
    Ok(ExitCode::SUCCESS)
}

async fn sleep_until_end(run_for: Option<Duration>) {
    match run_for {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn greet(plan: &Plan, started: Instant) {
    say(&format!(
        "烽燧 Watchfire\n  控制台 console   http://{}/\n  MQTT            mqtt://{}\n  数据 data        {} (日志 logs: logs/)\n  {:.1} s 后就绪 ready after {:.1} s · Ctrl-C 停止 stops everything",
        plan.http,
        plan.mqtt,
        plan.data.display(),
        started.elapsed().as_secs_f64(),
        started.elapsed().as_secs_f64()
    ));
}

/// Waits until ingest answers.
async fn wait_ready(ingest: &mut Worker, server: SocketAddr) -> anyhow::Result<()> {
    let deadline = now() + READY;
    loop {
        if tokio::task::spawn_blocking(move || http::answers(server)).await? {
            return Ok(());
        }
        if let Some(event) = ingest.tend(now()) {
            bail!(
                "ingest ended while starting ({}); its log is {}",
                describe(&event),
                ingest.job.log.display()
            );
        }
        if now() > deadline {
            bail!("ingest did not answer in {} s; its log is {}", READY.as_secs(), ingest.job.log.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Crashed { status, again_in } => {
            format!("意外退出 ended unexpectedly: {status}; {:.1} s 后重启 restart", again_in.as_secs_f64())
        }
        Event::Misconfigured => "配置有误，不再重启 wrong configuration, stays down".into(),
        Event::Restarted => "已重启 restarted".into(),
        Event::Failed(error) => format!("无法启动 cannot be started: {error}"),
    }
}

/// Restarts what ends, shows counters; never ends by itself.
async fn look_after(plan: &Plan, ingest: &mut [Worker], gateways: &mut [Worker]) -> anyhow::Result<()> {
    let every = if std::io::stdout().is_terminal() { SHOW_TERMINAL } else { SHOW_LINES };
    let mut shown = now();
    let mut last: Option<Live> = None;
    loop {
        tokio::time::sleep(TEND).await;
        for worker in ingest.iter_mut().chain(gateways.iter_mut()) {
            if let Some(event) = worker.tend(now()) {
                let (name, log) = (&worker.job.name, worker.job.log.display());
                say(&format!("{name}: {} · 日志 log: {log}", describe(&event)));
            }
        }
        let since = now().duration_since(shown);
        if since >= every {
            shown = now();
            let (server, before) = (plan.http, last);
            let asked =
                tokio::task::spawn_blocking(move || Live::ask(server, before.as_ref(), since.as_secs_f64()));
            // Without an answer the line stays as it is: ingest may be starting again.
            if let Ok(Ok(live)) = asked.await {
                show(&live);
                last = Some(live);
            }
        }
    }
}
