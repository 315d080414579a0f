//! The thread that owns the log.
//!
//! Two queues lead to it. What is urgent (alarms, seal receipts) gets the next commit, and one of its own, so that it
//! neither waits for what was there before nor is applied behind it. After each such commit the others have their
//! turn: nobody starves. A place in the log is given at the commit, so overtaking changes nothing behind it: the state
//! is a function of the log, now and at a replay. What is committed cannot be overtaken any more; therefore groups are
//! small, and few may wait to be applied.

use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;

use super::{Appended, Entry, Log, Storage};
use crate::counters::{Counters, Part};

/// Most messages that wait for the log. With 64 KiB each this is 64 MiB; senders then wait in their own tasks.
pub(crate) const QUEUE: usize = 1024;
/// Most urgent messages that wait: every gateway of a city may have some at once.
pub(crate) const URGENT_QUEUE: usize = 1024;
/// Most messages in one group commit.
const MAX_GROUP: usize = 512;
/// Most payload bytes in one group commit, by one message: some 25,000 readings, which take the pool some 20 ms. An
/// alarm may have to wait for as many groups as may be on their way into the pool.
const MAX_GROUP_BYTES: usize = 64 << 10;

/// How long readings may wait for room behind the log before they are answered "not now". Short of it the sender only
/// feels a slow acknowledgement, and sends no faster than files are written; but acknowledgements have an order, and
/// those of alarms stand behind the ones that wait.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The answer while files are written more slowly than readings come in.
const NO_ROOM: &str = "readings come in faster than they can be written to files: come again in a moment";

/// A message on its way into the log.
pub(crate) struct Append<T> {
    pub(crate) received_ms: i64,
    pub(crate) kind: u8,
    pub(crate) source: String,
    pub(crate) payload: Vec<u8>,
    /// What the sender already knows of it, carried along so that nothing is decoded twice.
    pub(crate) known: T,
    /// Told when it is durable, or why it is not.
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

/// What the log is asked to do.
pub(crate) enum Command<T> {
    /// Make it durable.
    Append(Append<T>),
    /// Everything before this position is in a checkpoint.
    Checkpointed { position: u64, now_ms: i64 },
    /// Finish what waits, then end.
    Stop,
}

/// A durable message: the record's fields, without the one who waited for it.
pub(crate) struct Committed<T> {
    pub(crate) end: u64,
    pub(crate) received_ms: i64,
    pub(crate) kind: u8,
    pub(crate) source: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) known: T,
}

/// The running thread.
pub(crate) struct LogThread {
    handle: JoinHandle<()>,
}

impl LogThread {
    /// Starts it. Durable groups go to `sink` in log order; when `sink` waits, the log waits. While there is no `room`
    /// behind it, only what is urgent is taken; the rest waits for a moment, and is then answered "not now".
    pub(crate) fn start<S: Storage, T: Send + 'static>(
        mut log: Log<S>,
        mut urgent: mpsc::Receiver<Append<T>>,
        mut commands: mpsc::Receiver<Command<T>>,
        mut room: watch::Receiver<bool>,
        counters: Arc<Counters>,
        mut sink: impl FnMut(Vec<Committed<T>>) + Send + 'static,
    ) -> std::io::Result<Self> {
        // Only to wait for several things at once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let handle = std::thread::Builder::new().name("log".into()).spawn(move || {
            let mut group: Vec<Append<T>> = Vec::with_capacity(MAX_GROUP);
            let mut open = true;
            // Since there was room, something has waited for as long as it may.
            let mut waited = false;
            while open {
                let mut command = runtime.block_on(async {
                    tokio::select! {
                        biased;
                        Some(append) = urgent.recv() => {
                            group.push(append);
                            None
                        }
                        command = commands.recv() => {
                            open = command.is_some();
                            command
                        }
                    }
                });
                while group.len() < MAX_GROUP
                    && let Ok(append) = urgent.try_recv()
                {
                    group.push(append);
                }
                commit(&mut log, &mut group, &counters, &mut sink);
                command = command.or_else(|| commands.try_recv().ok());
                let mut bytes = 0;
                while let Some(present) = command.take() {
                    if !*room.borrow() && !waited && matches!(present, Command::Append(_)) {
                        commit(&mut log, &mut group, &counters, &mut sink);
                        let mut end = {
                            let _timers = runtime.enter();
                            Box::pin(tokio::time::sleep(MAX_WAIT))
                        };
                        waited = loop {
                            match runtime.block_on(wait_for_room(&mut room, &mut urgent, end.as_mut())) {
                                Waited::Urgent(append) => {
                                    // Here, outside the runtime: the sink may wait too.
                                    commit(&mut log, &mut vec![append], &counters, &mut sink);
                                }
                                Waited::Room => break false,
                                Waited::Spent => break true,
                            }
                        };
                    }
                    waited &= !*room.borrow();
                    match present {
                        Command::Append(append) if waited => {
                            // A sender that has gone away does not need the answer.
                            let _ = append.done.send(Err(NO_ROOM.into()));
                        }
                        Command::Append(append) => {
                            bytes += append.payload.len();
                            group.push(append);
                        }
                        Command::Checkpointed { position, now_ms } => {
                            if let Err(error) = log.retire(position, now_ms) {
                                tracing::warn!(%error, "an old log segment could not be deleted; it stays");
                            }
                        }
                        Command::Stop => {
                            open = false;
                            urgent.close();
                            commands.close();
                        }
                    }
                    if group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                        // After a stop this drains what still waits.
                        command = commands.try_recv().ok();
                    }
                }
                loop {
                    commit(&mut log, &mut group, &counters, &mut sink);
                    if !open {
                        group.extend(std::iter::from_fn(|| urgent.try_recv().ok()));
                        while let Ok(Command::Append(append)) = commands.try_recv() {
                            group.push(append);
                        }
                    }
                    if group.is_empty() {
                        break;
                    }
                }
            }
        })?;
        Ok(Self { handle })
    }

    /// Waits for its end; send [`Command::Stop`] first.
    pub(crate) fn join(self) {
        if self.handle.join().is_err() {
            tracing::error!("the log thread panicked");
        }
    }
}

/// What ended a wait for room.
enum Waited<T> {
    /// There is room.
    Room,
    /// Something urgent came.
    Urgent(Append<T>),
    /// It has lasted long enough, or nothing behind the log lives.
    Spent,
}

async fn wait_for_room<T>(
    room: &mut watch::Receiver<bool>,
    urgent: &mut mpsc::Receiver<Append<T>>,
    end: Pin<&mut Sleep>,
) -> Waited<T> {
    tokio::select! {
        biased;
        Some(append) = urgent.recv() => Waited::Urgent(append),
        has_room = room.wait_for(|room| *room) => if has_room.is_ok() { Waited::Room } else { Waited::Spent },
        () = end => Waited::Spent,
    }
}

fn commit<S: Storage, T>(
    log: &mut Log<S>,
    group: &mut Vec<Append<T>>,
    counters: &Counters,
    sink: &mut impl FnMut(Vec<Committed<T>>),
) {
    if group.is_empty() {
        return;
    }
    let before = log.position();
    let entries: Vec<Entry<'_>> = group
        .iter()
        .map(|append| Entry {
            received_ms: append.received_ms,
            kind: append.kind,
            source: &append.source,
            payload: &append.payload,
        })
        .collect();
    let Appended { ends, failed } = log.append(&entries);
    if !ends.is_empty() {
        counters.committed(log.position(), log.position() - before);
        let durable = group.drain(..ends.len()).zip(ends).map(|(append, end)| {
            // A sender that has gone away does not need the answer.
            let _ = append.done.send(Ok(()));
            Committed {
                end,
                received_ms: append.received_ms,
                kind: append.kind,
                source: append.source,
                payload: append.payload,
                known: append.known,
            }
        });
        sink(durable.collect());
    }
    match failed {
        None if counters.trouble(Part::Log).is_some() => {
            tracing::info!("the log goes on");
            counters.set_trouble(Part::Log, None);
        }
        None => {}
        Some(error) => {
            let what_next = if log.is_poisoned() {
                "Fix the disk, then restart ingest"
            } else {
                "Free some disk space: it then goes on by itself"
            };
            tracing::error!(%error, "the log failed: nothing is acknowledged. {what_next}");
            let detail = format!("{error}. Nothing is acknowledged; gateways keep their data. {what_next}");
            counters.set_trouble(Part::Log, Some(detail));
            for append in group.drain(..) {
                let _ = append.done.send(Err(error.to_string()));
            }
        }
    }
}
