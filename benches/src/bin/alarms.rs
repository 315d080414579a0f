//! From a sensor's change to the console, while a backlog drains.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, bail, ensure};
use benches::layout::{self, Plan};
use benches::line::{self, Line};
use benches::listener::{self, Heard};
use benches::storm::{Outcome, Storm};
use benches::supervise::{self, Worker};
use benches::{city, http, order, process, pump, roles, street};
use clap::{Args, Parser, Subcommand};
use configs::strict::parse_duration_ms;

/// How long ingest may take to answer.
const READY: Duration = Duration::from_secs(60);
/// How long a box may take between two words: it fills its buffer meanwhile.
const SILENCE: Duration = Duration::from_secs(600);
/// How long nothing may come out of the stream while alarms are on their way, at most.
const LOST: Duration = Duration::from_secs(60);
/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(25);
/// Lines of a box that may wait.
const LINES: usize = 100_000;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Alarm latency while a backlog drains, from the sample in the gateway's process to the live stream of ingest.
///
/// 报警延迟测试：积压数据补传期间，从采样到控制台事件流的时间。
#[derive(Parser)]
#[command(after_help = "\
Examples:
  alarms drain --data /tmp/a                              1,000 presses of a contact, two boxes of 1,000,000 readings
  alarms drain --data /tmp/b --presses 50 --backlog 50000 a short look
  alarms drain --data /tmp/c --boxes 1 --every 1s --presses 200 --bits 256000 --delay-ms 200 --loss 0.05
                                                          the same over a bad line
  alarms storm --data /tmp/d                              10,000 gateways return within five seconds

Everything runs on loopback, in processes of its own: the product's ingest, and the product's pipeline, buffer and
courier with samples made up in place of buses. Figures depend on the machine and on what else it does: say so with them.")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Alarms beside a backlog.
    Drain(Drain),
    /// Thousands of gateways at once.
    Storm(StormArguments),
    /// Ingest, until standard input ends.
    #[command(hide = true)]
    Ingest {
        #[arg(long)]
        config: PathBuf,
    },
    /// A box, until standard input ends.
    #[command(hide = true)]
    Box {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        fill: u64,
        #[arg(long)]
        presses: u32,
        #[arg(long, value_parser = duration)]
        every: Duration,
    },
}

#[derive(Args)]
struct Drain {
    /// Folder for the run; must be new.
    #[arg(long)]
    data: PathBuf,
    /// Readings that wait in each box.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// Boxes; the first one raises the alarms, the others only drain beside it.
    #[arg(long, default_value_t = 2)]
    boxes: usize,
    /// Sensors of each box.
    #[arg(long, default_value_t = 200)]
    sensors: usize,
    /// Alarm events: the contact is pressed and let go in turn.
    #[arg(long, default_value_t = 1_000)]
    presses: u32,
    /// Time between two of them; each pause is random between half and one and a half.
    #[arg(long, default_value = "10ms", value_parser = duration)]
    every: Duration,
    /// Put a line of so many bits a second, each way, in front of ingest.
    #[arg(long)]
    bits: Option<u64>,
    /// Delay of that line, each way.
    #[arg(long, default_value_t = 200)]
    delay_ms: u64,
    /// Chance that a segment of that line is lost.
    #[arg(long, default_value_t = 0.05)]
    loss: f64,
    /// Bytes that wait in front of that line's bottleneck.
    #[arg(long, default_value_t = 32 * 1024)]
    queue: usize,
}

#[derive(Args)]
struct StormArguments {
    /// Folder for the run; must be new.
    #[arg(long)]
    data: PathBuf,
    /// Gateways.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Frames that each has waiting.
    #[arg(long, default_value_t = 4)]
    frames: usize,
    /// All connect within this time.
    #[arg(long, default_value = "5s", value_parser = duration)]
    within: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text).ok_or("a number with its unit expected: 10ms, 5s")?;
    Ok(Duration::from_millis(ms))
}

#[allow(clippy::disallowed_methods)] // the program that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

/// Ingest as a process of this program.
fn start_ingest(plan: &Plan) -> anyhow::Result<[Worker; 1]> {
    let mut ingest = [Worker::new(plan.ingest_job(&std::env::current_exe()?))];
    ingest[0].start(now())?;
    let start = now();
    while !http::answers(plan.http) {
        if let Some(event) = ingest[0].tend(now()) {
            bail!("ingest ended by itself: {event:?}; see {}", ingest[0].job.log.display());
        }
        ensure!(start.elapsed() < READY, "ingest does not answer; see {}", ingest[0].job.log.display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(ingest)
}

fn plan(data: &Path, boxes: usize, sensors: usize) -> anyhow::Result<Plan> {
    ensure!(!data.exists(), "{} exists: name a new folder with --data", data.display());
    let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (http, mqtt) = (layout::choose(any, 0)?.0, layout::choose(any, 0)?.0);
    let sensors = sensors * boxes;
    let seed = city::SEED;
    Ok(Plan {
        data: data.into(),
        http,
        mqtt,
        gateways: boxes,
        sensors,
        seed,
        speed: 1.0,
        this_machine: false,
    })
}

/// A box as a process, with what it says.
struct Boxed {
    child: Child,
    told: ChildStdin,
    said: Receiver<String>,
}

impl Boxed {
    fn start(plan: &Plan, name: &str, drain: &Drain, presses: u32) -> anyhow::Result<Self> {
        let log = fs::File::create(plan.data.join(format!("{name}.log")))?;
        let config = plan.gateway_folder(name).join("gateway.toml");
        let mut child = Command::new(std::env::current_exe()?)
            .arg("box")
            .arg("--config")
            .arg(config)
            .args(["--fill", &drain.backlog.to_string(), "--presses", &presses.to_string()])
            .args(["--every", &format!("{}ms", drain.every.as_millis())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let (Some(told), Some(out)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        let (sender, said) = sync_channel(LINES);
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, told, said })
    }

    /// The next line, which must begin with `word`; the rest of it.
    fn hear(&self, word: &str) -> anyhow::Result<String> {
        let line = self.said.recv_timeout(SILENCE).with_context(|| format!("a box ended before {word:?}"))?;
        let rest =
            line.strip_prefix(word).with_context(|| format!("{word:?} expected, a box said {line:?}"))?;
        Ok(rest.trim().to_owned())
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A press as the box told of it.
#[derive(Debug, Clone, Copy)]
struct Press {
    pressed: bool,
    at_us: u64,
    left: u64,
}

fn press(rest: &str) -> Option<Press> {
    let mut words = rest.split(' ');
    let pressed = words.next()? == "1";
    Some(Press { pressed, at_us: words.next()?.parse().ok()?, left: words.next()?.parse().ok()? })
}

#[allow(clippy::print_stdout)] // the results
fn drain(drain: &Drain) -> anyhow::Result<bool> {
    ensure!(drain.boxes >= 1 && drain.presses >= 1, "at least one box and one press are needed");
    let mut plan = plan(&drain.data, drain.boxes, drain.sensors)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bad = drain.bits.map(|bits_per_s| Line {
        delay_ms: drain.delay_ms,
        bits_per_s,
        queue_bytes: drain.queue,
        loss: drain.loss,
        seed: city::SEED,
    });
    // Boxes are told of the line's end, ingest of its own address.
    let server = plan.mqtt;
    if let Some(bad) = bad {
        plan.mqtt = runtime.block_on(async { line::open(bad, server) })?;
    }
    plan.write("")?;
    plan.mqtt = server;
    fs::write(plan.data.join("ingest.toml"), ingest_config(&plan))?;
    let names = plan.gateway_names();
    let mut boxes = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let path = plan.gateway_folder(name).join("gateway.toml");
        let text = fs::read_to_string(&path)? + &pump::rule();
        fs::write(&path, text)?;
        boxes.push(Boxed::start(&plan, name, drain, if number == 0 { drain.presses } else { 0 })?);
    }
    for (boxed, name) in boxes.iter().zip(&names) {
        println!("{name}: {} readings wait in {} frames", drain.backlog, boxed.hear("filled")?);
    }
    let mut ingest = start_ingest(&plan)?;
    let heard = listener::listen(plan.http)?;
    let start = now();
    for boxed in &mut boxes {
        writeln!(boxed.told, "ship")?;
    }
    let mut presses = Vec::new();
    for _ in 0..drain.presses {
        let rest = boxes[0].hear("press")?;
        presses.push(press(&rest).with_context(|| format!("a press without its figures: {rest:?}"))?);
    }
    let took = start.elapsed();
    let arrived = collect(&heard, &names[0], presses.len())?;
    let accepted = http::get_json(plan.http, "/api/v1/stats")?["readings"]["accepted"].as_u64().unwrap_or(0);
    let in_order =
        presses.iter().zip(&arrived).all(|(press, heard)| press.pressed == (heard.state == "active"));
    report(&presses, &arrived, took, accepted);
    println!("order kept: {}", if in_order { "yes" } else { "NO" });
    drop(boxes);
    let stuck = supervise::stop(&mut ingest, STOP);
    ensure!(stuck.is_empty(), "ingest did not stop in {} s", STOP.as_secs());
    Ok(in_order && arrived.len() == presses.len())
}

fn ingest_config(plan: &Plan) -> String {
    format!("data = \"ingest\"\n\n[mqtt]\nlisten = \"{}\"\n\n[http]\nlisten = \"{}\"\n", plan.mqtt, plan.http)
}

/// The events of the contact, as many as there were presses.
fn collect(heard: &Receiver<Heard>, gateway: &str, presses: usize) -> anyhow::Result<Vec<Heard>> {
    let mut arrived = Vec::with_capacity(presses);
    while arrived.len() < presses {
        match heard.recv_timeout(LOST) {
            Ok(event) if event.gateway == gateway && event.rule == pump::RULE => arrived.push(event),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the event stream ended after {} events", arrived.len())
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} of {presses} events came, then none for {} s", arrived.len(), LOST.as_secs())
            }
        }
    }
    Ok(arrived)
}

#[allow(clippy::print_stdout)] // the results
fn report(presses: &[Press], arrived: &[Heard], took: Duration, accepted: u64) {
    let mut took_ms: Vec<f64> = presses
        .iter()
        .zip(arrived)
        .map(|(press, heard)| heard.at_us.saturating_sub(press.at_us) as f64 / 1e3)
        .collect();
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        took_ms.get(((took_ms.len() - 1) as f64 * share).round() as usize).copied().unwrap_or(0.0)
    };
    let (first, last) =
        (presses.first().map_or(0, |press| press.left), presses.last().map_or(0, |press| press.left));
    println!(
        "{} alarm events in {:.1} s; {accepted} readings came in beside them",
        arrived.len(),
        took.as_secs_f64()
    );
    println!(
        "frames of readings that waited in the alarming box: {first} at the first alarm, {last} at the last"
    );
    println!("latency ms: p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}", at(0.5), at(0.9), at(0.99), at(1.0));
}

#[allow(clippy::print_stdout)] // the results
fn storm(arguments: &StormArguments) -> anyhow::Result<bool> {
    let plan = plan(&arguments.data, 1, street::MAX_SENSORS.min(10))?;
    plan.write("")?;
    let config = ingest_config(&plan)
        .replace("\n[http]", &format!("connections = {}\n\n[http]", arguments.clients + 16));
    fs::write(plan.data.join("ingest.toml"), config)?;
    let mut ingest = start_ingest(&plan)?;
    let Some(pid) = ingest[0].pid() else { bail!("ingest has ended") };
    let mib = |bytes: Option<u64>| bytes.unwrap_or(0) as f64 / f64::from(1 << 20);
    let before = mib(process::rss_bytes(pid));
    let storm = Storm { clients: arguments.clients, frames: arguments.frames, within: arguments.within };
    let outcome = Arc::new(Outcome::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let start = now();
    let running = runtime.spawn(storm.run(plan.mqtt, order::now_ms(), Arc::clone(&outcome)));
    let mut peak = before;
    while !running.is_finished() {
        peak = peak.max(mib(process::rss_bytes(pid)));
        thread::sleep(LOOK);
    }
    runtime.block_on(running)??;
    let took = start.elapsed();
    // The pool takes in what the log has acknowledged.
    let stats = |key: &str| -> anyhow::Result<u64> {
        Ok(http::get_json(plan.http, "/api/v1/stats")?["readings"][key].as_u64().unwrap_or(0))
    };
    let pooled = now();
    while stats("accepted")? < storm.readings() && pooled.elapsed() < READY {
        thread::sleep(LOOK);
        peak = peak.max(mib(process::rss_bytes(pid)));
    }
    let (accepted, duplicate) = (stats("accepted")?, stats("duplicate")?);
    let after = mib(process::rss_bytes(pid));
    let get = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
    let granted: Vec<u64> = outcome.granted.iter().map(get).collect();
    println!(
        "{} gateways with {} frames each, all within {:.0} s",
        storm.clients,
        storm.frames,
        storm.within.as_secs_f64()
    );
    println!(
        "acknowledged after {:.1} s; most connections at once {}",
        took.as_secs_f64(),
        get(&outcome.most_open)
    );
    println!(
        "granted in flight: {} got 2, {} up to 8, {} up to 32, {} more",
        granted[0], granted[1], granted[2], granted[3]
    );
    println!(
        "connections refused or failed {}, frames sent again {}, gave up {}",
        get(&outcome.failed),
        get(&outcome.repeats),
        get(&outcome.gave_up)
    );
    println!(
        "readings: {} sent, {accepted} accepted, {duplicate} doubled on the way and recognised",
        storm.readings()
    );
    println!("memory of ingest in MiB: {before:.0} before, {peak:.0} at most, {after:.0} after");
    let stuck = supervise::stop(&mut ingest, STOP);
    ensure!(stuck.is_empty(), "ingest did not stop in {} s", STOP.as_secs());
    Ok(accepted == storm.readings() && get(&outcome.gave_up) == 0)
}

fn main() -> anyhow::Result<ExitCode> {
    let good = match Arguments::parse().what {
        What::Ingest { config } => return Ok(roles::ingest(&config)),
        What::Box { config, fill, presses, every } => {
            pump::run(&config, fill, presses, every)?;
            true
        }
        What::Drain(arguments) => drain(&arguments)?,
        What::Storm(arguments) => storm(&arguments)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
