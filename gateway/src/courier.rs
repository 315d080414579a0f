//! The task that carries out what [`crate::ship`] says, between buffer and broker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::buffer::{Buffer, Heads, Stopped};
use crate::clock::Timekeeper;
use crate::config::Config;
use crate::ladder::{Ladder, Rungs, Step};
use crate::mqtt::{self, Connection, Event};
use crate::seal::Link;
use crate::ship::{Action, Answer, Figures, Limits, Send, Ship, Why};

/// What the shipper shows of itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Figures of the machine.
    pub figures: Figures,
    /// Age of the oldest unacknowledged frame, in ms.
    pub oldest_unacked_ms: u64,
    /// When the task left this report, in ms since the start.
    pub beat_ms: u64,
    /// Why the last connection ended; empty while one stands.
    pub trouble: String,
    /// Restarts and reboots since ingest last acknowledged anything.
    pub rungs: Rungs,
}

/// Where the task leaves its report; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Window(Arc<Mutex<Report>>);

impl Window {
    /// The report as of the task's last step.
    pub fn look(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why the task woke.
enum Woke {
    Heads,
    Broker(Option<Event>),
    Timer,
    Stop,
    /// The buffer has ended: there is nothing left to ship from.
    Ended,
}

/// Ships until `stop` says so, then for `grace` at most until the buffer is empty. Ends by itself when ingest has been
/// silent for so long that something stronger is called for, and says what.
pub async fn ship(
    config: Config,
    buffer: Buffer,
    time: Timekeeper,
    window: Window,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
    seal: Option<Link>,
) -> Option<Step> {
    let mut courier = Courier {
        machine: Ship::new(
            Limits { patience_ms: config.patience_ms, receipts: config.receipts },
            fastrand::u64(..),
            time.now_ms(),
        ),
        heads: buffer.heads(),
        ladder: Ladder::new(config.liveness.limits.clone(), Rungs::load(&config.data)),
        config,
        buffer,
        time,
        window,
        connection: None,
        trouble: String::new(),
        seal,
    };
    let mut end_ms: Option<u64> = None;
    let mut climbed = None;
    loop {
        if courier.step().await.is_err() {
            break;
        }
        climbed = courier.climb();
        if climbed.is_some() && end_ms.is_none() {
            break;
        }
        let now_ms = courier.time.now_ms();
        let drained = courier.heads.borrow().is_empty();
        if end_ms.is_some_and(|end| now_ms >= end || drained) {
            break;
        }
        match courier.wait(&mut stop, end_ms).await {
            Woke::Stop => {
                end_ms = Some(courier.time.now_ms().saturating_add(grace.as_millis() as u64));
            }
            Woke::Broker(event) => courier.hear(event),
            Woke::Ended => break,
            Woke::Heads | Woke::Timer => {}
        }
    }
    if let Some((connection, _)) = courier.connection.take() {
        connection.close().await;
    }
    climbed
}

struct Courier {
    config: Config,
    buffer: Buffer,
    time: Timekeeper,
    window: Window,
    machine: Ship,
    ladder: Ladder,
    heads: watch::Receiver<Heads>,
    connection: Option<(Connection, mpsc::Receiver<Event>)>,
    trouble: String,
    /// The seal, which hears what is sent to it.
    seal: Option<Link>,
}

impl Courier {
    /// Does everything there is to do now.
    async fn step(&mut self) -> Result<(), Stopped> {
        let heads = *self.heads.borrow_and_update();
        self.machine.heads(self.time.now_ms(), &heads);
        self.machine.timeout(self.time.now_ms());
        loop {
            while let Some(action) = self.machine.next_action() {
                self.act(action).await?;
            }
            let mut sends: Vec<Send> = Vec::new();
            while let Some(send) = self.machine.next_send(self.time.now_ms()) {
                sends.push(send);
            }
            if sends.is_empty() {
                break;
            }
            let frames =
                self.buffer.read(sends.iter().map(|send| (send.lane, send.sequence)).collect()).await?;
            for (send, frame) in sends.into_iter().zip(frames) {
                match (frame, &mut self.connection) {
                    (Some(frame), Some((connection, _))) => {
                        connection.publish(send.token, send.lane, frame);
                    }
                    (None, _) => self.machine.answered(self.time.now_ms(), send.token, Answer::Gone),
                    // Without a connection nothing is sent; the machine is about to hear of it.
                    (Some(_), None) => {}
                }
            }
        }
        let mut report = self.window.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.figures = self.machine.figures();
        report.beat_ms = self.time.now_ms();
        report.oldest_unacked_ms = self.machine.oldest_unacked_ms(self.time.now_ms());
        report.trouble.clone_from(&self.trouble);
        report.rungs = self.ladder.rungs();
        Ok(())
    }

    /// Whether ingest has been silent for so long that something stronger is called for.
    fn climb(&mut self) -> Option<Step> {
        let before = self.ladder.rungs();
        let figures = self.machine.figures();
        let answers = figures.durable.saturating_add(figures.refused);
        let waits = !self.heads.borrow().is_empty();
        let step = self.ladder.look(self.time.now_ms(), answers, waits);
        let rungs = self.ladder.rungs();
        if rungs != before
            && let Err(error) = rungs.save(&self.config.data)
        {
            tracing::warn!(%error, "how often the process was started again cannot be remembered");
        }
        if let Some(step) = step {
            tracing::error!(
                ?step,
                restarts = rungs.restarts,
                reboots = rungs.reboots,
                "平台长时间无应答 ingest has acknowledged nothing for long although data waits"
            );
        }
        step
    }

    async fn act(&mut self, action: Action) -> Result<(), Stopped> {
        match action {
            Action::Connect => {
                tracing::debug!(broker = %self.config.broker, "connecting");
                self.connection = Some(mqtt::connect(&self.config));
                Ok(())
            }
            Action::Drop(why) => {
                let words = match why {
                    Why::Unacknowledged => "the oldest frame was not acknowledged in time",
                    Why::ConnectTooLong => "the connection did not come to stand",
                };
                tracing::warn!(why = words, "a new client is built");
                self.trouble = words.into();
                self.tell_seal(false);
                self.connection = None;
                Ok(())
            }
            Action::Forget { store, lane, below } => self.buffer.forget(store, lane, below).await,
            Action::SetAside { store, lane, sequence, reason } => {
                tracing::error!(
                    lane = lane.as_str(),
                    sequence,
                    reason = format!("{reason:#04x}"),
                    "ingest refused a frame for good: it is set aside"
                );
                self.buffer.set_aside(store, lane, sequence, reason).await
            }
        }
    }

    fn hear(&mut self, event: Option<Event>) {
        let now_ms = self.time.now_ms();
        match event {
            Some(Event::Up { receive_maximum }) => {
                tracing::info!(broker = %self.config.broker, "connected");
                self.trouble.clear();
                self.tell_seal(true);
                self.machine.connected(now_ms, receive_maximum);
            }
            Some(Event::Answer { token, answer }) => {
                if let Answer::Later(reason) = answer {
                    tracing::warn!(
                        reason = format!("{reason:#04x}"),
                        "ingest cannot take a frame now: it is sent again later"
                    );
                }
                self.machine.answered(now_ms, token, answer);
            }
            Some(Event::Receipt(receipt)) => self.machine.receipt(now_ms, &receipt),
            Some(Event::Seal(bytes)) => {
                if let Some(seal) = &self.seal {
                    seal.said(bytes);
                }
            }
            Some(Event::Down(why)) => self.lose(now_ms, why),
            None => self.lose(now_ms, "the client has ended".into()),
        }
    }

    fn tell_seal(&self, is_online: bool) {
        if let Some(seal) = &self.seal {
            seal.online(is_online);
        }
    }

    fn lose(&mut self, now_ms: u64, why: String) {
        // The same trouble again and again is told once.
        if why == self.trouble {
            tracing::debug!(why, "still no connection");
        } else {
            tracing::warn!(broker = %self.config.broker, why, "no connection: frames wait in the buffer");
        }
        self.trouble = why;
        self.tell_seal(false);
        self.connection = None;
        self.machine.disconnected(now_ms);
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<bool>, end_ms: Option<u64>) -> Woke {
        /// The report is refreshed at least this often, in ms.
        const REPORT_MS: u64 = 1_000;
        let at_ms = self.time.now_ms().saturating_add(REPORT_MS);
        let at_ms = [self.machine.next_timeout(), end_ms].into_iter().flatten().fold(at_ms, u64::min);
        let timer = sleep_until(self.time.instant(at_ms).into());
        let connection = &mut self.connection;
        let broker = async {
            match connection {
                Some((_, events)) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop), if end_ms.is_none() => Woke::Stop,
            event = broker => Woke::Broker(event),
            changed = self.heads.changed() => changed.map_or(Woke::Ended, |()| Woke::Heads),
            () = timer => Woke::Timer,
        }
    }
}
