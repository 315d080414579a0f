//! A lock at the end of a serial line: a seal that is a device of its own, as an example to port. Its decision, steps and
//! driver are those of the seal that hangs on a gateway; here are a memory in one file and a line in place of a network.
//!
//! ```sh
//! lock --config lock.toml key                    # the key of its end, for [[seal_line]] in the gateway's configuration
//! lock --config lock.toml run --port /dev/ttyS1 --gateway line-…
//! ```
//! Its configuration is that of a gateway with a `[seal]`; so `gateway seal init`, `status`, `stamp` and `present` with the
//! same file speak to it. It ends at SIGINT or SIGTERM. `benches/seal/wire.py` runs it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use gateway::clock::{Machine, Timekeeper};
use gateway::sample::Stop;
use gateway::seal::ferry::Ferry;
use gateway::seal::{Link, desk, key, spawn, tools};
use gateway::{Config, floor};
use line::message::Down;
use line::noise::Pair;
use line::{End, Event};
use tokio::signal::unix::{SignalKind, signal};

mod shelf;

use shelf::Shelf;

/// A seal at the end of a serial line.
#[derive(Parser)]
struct Arguments {
    /// The configuration of a gateway with this seal.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the key of this end of the line; it is made at the first look.
    Key,
    /// Run until SIGINT or SIGTERM.
    Run {
        /// The serial port.
        #[arg(long, value_name = "PATH")]
        port: PathBuf,
        /// Its speed.
        #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
        baud: u32,
        /// The key of the gateway's end, as `gateway seal line` shows it.
        #[arg(long, value_name = "KEY")]
        gateway: String,
    },
}

#[allow(clippy::print_stdout, reason = "it shows its key to a person")]
fn main() -> anyhow::Result<()> {
    let Arguments { config, command } = Arguments::parse();
    let config = Config::load(&config).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let own = key::of_lines(&config.data)?;
    let Command::Run { port, baud, gateway } = command else {
        print!("{}", key::line_words(&line::noise::public(&own)));
        return Ok(());
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let seal = config.seal.as_deref().context("no [seal] in the configuration: one expected")?;
    let peer = key::read_line_key(&gateway).map_err(anyhow::Error::msg)?;
    let ferry = Ferry::new(End::Seal, Pair { own, peer, seal: seal.roots.seal.clone() }, port, baud);

    let shelf = Shelf::open(&config.data)?;
    let time = Timekeeper::start_after(floor::load(&config.data), Arc::new(Machine));
    let (link, inbox) = Link::alone();
    let tools = tools(&config, seal, Box::new(shelf.clone()), shelf.has_memory(), &time)?;
    let stop = Stop::default();
    let (mail, online) = (shelf.clone(), link.clone());
    // What was signed before goes before: then a hello is answered by one who has it all.
    let may_ask = move || online.is_online() && mail.next().is_none();
    let threads = [spawn(tools, inbox, &stop, may_ask)?, {
        let (link, stop) = (link.clone(), stop.clone());
        std::thread::spawn(move || carry(ferry, &shelf, &link, &time, &stop))
    }];

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(desk::serve(desk::open(&config.data)?, link));
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        anyhow::Ok(())
    })?;
    stop.stop();
    for thread in threads {
        // One that panicked has said so.
        let _ = thread.join();
    }
    Ok(())
}

/// Carries what lies on the shelf up, and what the authority says down.
fn carry(mut ferry: Ferry, shelf: &Shelf, link: &Link, time: &Timekeeper, stop: &Stop) {
    // Of what is on its way up.
    let mut number = None;
    while !stop.stopped() {
        for event in ferry.turn(|| time.now_ms()) {
            match event {
                Event::Up => tracing::info!("线路已连接 the gateway is connected"),
                Event::Down => {
                    tracing::warn!("线路已断开 the gateway is silent");
                    link.online(false);
                    number = None;
                }
                Event::Delivered => {
                    if let Some(number) = number.take() {
                        shelf.forget(number);
                    }
                }
                Event::Message(bytes) => {
                    match Down::read(&bytes) {
                        Some(Down::Said(said)) => link.said(said),
                        Some(Down::Online(is_online)) => link.online(is_online),
                        None => tracing::warn!("what came over the line is nothing that a gateway says"),
                    }
                    // Nobody signs for what comes down: a seal asks again for what it misses.
                    ferry.line.accept();
                }
                Event::Write(_) => {}
            }
        }
        if number.is_none()
            && let Some((next, message)) = shelf.next()
            && ferry.line.send(&message.to_bytes())
        {
            number = Some(next);
        }
    }
}
