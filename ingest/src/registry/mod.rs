//! Operational records in SQL: gateways, sensors, alarms, quarantine.
//!
//! One thread owns one connection and works through a
//! bounded queue. All writes are upserts that give the same row however often they are repeated, because the log
//! is replayed after a crash. The keeper waits for a flush before a checkpoint, so that what is nowhere
//! else is in SQL by then: gateways, alarms, quarantine, what seals have sent, the words of sensors. The rest of a sensor's row is a copy for
//! others to read, and follows when there is time; the checkpoint remembers which ones still have to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::counters::{Counters, Part};
use crate::pool::alarms::Alarm;
use crate::pool::sensors::Words;
use crate::pool::{Envelope, Seen};
use crate::quarantine::Held;
use crate::views::{Page, QuarantineView};

mod rows;
mod sql;
#[cfg(test)]
mod tests;

use sql::Database;

/// Most jobs that wait: a job is what one batch of the log gave. Then the apply thread waits, and the log behind it.
const QUEUE: usize = 256;
/// Pause before a failed transaction is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A gateway as SQL keeps it.
#[derive(Debug, Clone)]
pub(crate) struct GatewayRow {
    pub(crate) id: String,
    pub(crate) area: String,
    pub(crate) board: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) place: Option<(f64, f64)>,
    pub(crate) first_heard_ms: i64,
    pub(crate) last_heard_ms: i64,
}

/// A sensor as SQL keeps it.
#[derive(Debug, Clone)]
pub(crate) struct SensorRow {
    pub(crate) number: u32,
    pub(crate) gateway: String,
    pub(crate) sensor: String,
    pub(crate) quantity: u16,
    /// Label and chip; `None` leaves them as they are.
    pub(crate) words: Option<Words>,
    pub(crate) place: (f64, f64),
    pub(crate) area: String,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Gateway(GatewayRow),
    Sensor(SensorRow),
    Alarm(Box<Alarm>),
    Held(Box<Held>),
    Envelope(Box<Envelope>),
    Picture(Box<Seen>),
    /// A new state of a quarantined message: `replayed` or `refused_again`.
    HeldState(u64, &'static str),
}

/// What the thread is asked.
enum Job {
    Write(Vec<Write>),
    Flush(SyncSender<()>),
    List { before: Option<u64>, limit: usize, answer: oneshot::Sender<Result<Page<QuarantineView>, String>> },
    Find { id: u64, answer: oneshot::Sender<Result<Option<Held>, String>> },
    Words { numbers: Vec<u32>, answer: oneshot::Sender<Result<HashMap<u32, Words>, String>> },
    Stop,
}

/// A handle to the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    jobs: SyncSender<Job>,
    /// Jobs that are not done.
    waiting: Arc<AtomicUsize>,
    /// Told when something that a seal has sent is in the database.
    mail: Arc<Notify>,
}

/// The registry's thread has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended;

/// Why a question has no answer.
#[derive(Debug, Clone)]
pub(crate) enum AskError {
    /// Too many questions wait.
    Busy,
    /// The thread has ended.
    Ended,
    /// The database said no.
    Database(String),
}

impl Registry {
    /// Opens the database, brings its tables up to date and starts the thread. `limit_bytes` bounds what the
    /// quarantine holds.
    ///
    /// # Errors
    /// What is wrong with the database, for people.
    pub(crate) fn start(
        url: &str,
        limit_bytes: u64,
        counters: Arc<Counters>,
    ) -> Result<(Self, JoinHandle<()>), String> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (ready, opened) = sync_channel(1);
        let waiting = Arc::new(AtomicUsize::new(0));
        let undone = Arc::clone(&waiting);
        let mail = Arc::new(Notify::new());
        let told = Arc::clone(&mail);
        let url = url.to_owned();
        let handle = std::thread::Builder::new()
            .name("registry".into())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = ready.send(Err(error.to_string()));
                        return;
                    }
                };
                match runtime.block_on(Database::open(&url, limit_bytes)) {
                    Ok(database) => {
                        let _ = ready.send(Ok(()));
                        Worker { runtime, database, counters, mail: told, broken: false }
                            .run(&queue, &undone);
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error.to_string()));
                    }
                }
            })
            .map_err(|error| error.to_string())?;
        opened.recv().map_err(|_| "its thread ended at once".to_owned())??;
        Ok((Self { jobs, waiting, mail }, handle))
    }

    /// Tells when something that a seal has sent is in the database.
    pub(crate) fn mail(&self) -> Arc<Notify> {
        Arc::clone(&self.mail)
    }

    /// Queues writes; waits when the queue is full.
    pub(crate) fn write(&self, writes: Vec<Write>) -> Result<(), Ended> {
        if writes.is_empty() { Ok(()) } else { self.queue(Job::Write(writes)) }
    }

    fn queue(&self, job: Job) -> Result<(), Ended> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(job).map_err(|_| Ended)
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Returns when everything queued before is in the database.
    pub(crate) fn flush(&self) -> Result<(), Ended> {
        let (done, wait) = sync_channel(1);
        self.queue(Job::Flush(done))?;
        wait.recv().map_err(|_| Ended)
    }

    /// The quarantine, newest first, from below `before` on.
    pub(crate) async fn list(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<QuarantineView>, AskError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Job::List { before, limit, answer })?;
        wait.await.map_err(|_| AskError::Ended)?.map_err(AskError::Database)
    }

    /// One entry of the quarantine with its bytes.
    pub(crate) async fn find(&self, id: u64) -> Result<Option<Held>, AskError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Job::Find { id, answer })?;
        wait.await.map_err(|_| AskError::Ended)?.map_err(AskError::Database)
    }

    /// Label and chip of sensors by their numbers; those that the database does not know are left out.
    pub(crate) async fn words(&self, numbers: Vec<u32>) -> Result<HashMap<u32, Words>, AskError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let (answer, wait) = oneshot::channel();
        self.ask(Job::Words { numbers, answer })?;
        wait.await.map_err(|_| AskError::Ended)?.map_err(AskError::Database)
    }

    /// Queues a new state of an entry, if there is room.
    pub(crate) fn mark(&self, id: u64, state: &'static str) -> Result<(), AskError> {
        self.ask(Job::Write(vec![Write::HeldState(id, state)]))
    }

    fn ask(&self, job: Job) -> Result<(), AskError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                AskError::Busy
            }
            TrySendError::Disconnected(_) => AskError::Ended,
        })
    }

    /// Ends the thread after what is queued.
    pub(crate) fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
    }
}

struct Worker {
    runtime: tokio::runtime::Runtime,
    database: Database,
    counters: Arc<Counters>,
    mail: Arc<Notify>,
    broken: bool,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>, undone: &AtomicUsize) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Write(writes) => self.write(&writes),
                Job::Flush(done) => {
                    let _ = done.send(());
                }
                Job::List { before, limit, answer } => {
                    let page = self.runtime.block_on(self.database.list(before, limit));
                    let _ = answer.send(page.map_err(|error| error.to_string()));
                }
                Job::Find { id, answer } => {
                    let held = self.runtime.block_on(self.database.find(id));
                    let _ = answer.send(held.map_err(|error| error.to_string()));
                }
                Job::Words { numbers, answer } => {
                    let words = self.runtime.block_on(self.database.words(&numbers));
                    let _ = answer.send(words.map_err(|error| error.to_string()));
                }
                Job::Stop => break,
            }
            undone.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tries until it works: what is not written here would be missing after the next checkpoint. Meanwhile the queue
    /// fills, and in the end nothing is acknowledged any more.
    fn write(&mut self, writes: &[Write]) {
        loop {
            match self.runtime.block_on(self.database.write(writes)) {
                Ok(dropped) => {
                    if dropped > 0 {
                        tracing::warn!(dropped, "the quarantine is full: its oldest entries were dropped");
                        self.counters.quarantine_dropped(dropped);
                    }
                    if self.broken {
                        self.broken = false;
                        self.counters.set_trouble(Part::Registry, None);
                    }
                    if writes.iter().any(|write| matches!(write, Write::Envelope(_) | Write::Picture(_))) {
                        self.mail.notify_one();
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the database does not take records; trying again");
                    self.broken = true;
                    let detail =
                        format!("{error}. Records wait; when too many wait, nothing is acknowledged");
                    self.counters.set_trouble(Part::Registry, Some(detail));
                    std::thread::sleep(RETRY);
                }
            }
        }
    }
}
