//! The engine as everybody else sees it.

use std::fs::File;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use wire::{GatewayId, Lane};

use super::apply_loop::{self, ApplyLoop, Question};
use super::compactor::Compactor;
use super::filer;
use super::recover::{Recovered, lock, recover};
use super::{EngineConfig, SenmlTaken, StartError, Stopped, Taken};
use crate::admit::{self, Reason, Refusal};
use crate::clock::now_ms;
use crate::columns::{FileError, PoolFolder};
use crate::counters::Counters;
use crate::feeds::Feed;
use crate::log::{Append, Command, Folder, LogThread, MAX_PAYLOAD, Storage};
use crate::pool::apply::{Known, Refused, encode, fingerprint, is_repeatable, kind};
use crate::pool::ledger::Standing;
use crate::pool::{SharedDoor, State};
use crate::quarantine::Allowance;
use crate::registry::Registry;
use crate::senml::SenmlFormat;
use crate::views::ViewError;

/// Most gateways that may register themselves: far above a city, and a bound for a flood of invented names.
pub const MAX_GATEWAYS: usize = 200_000;
/// Most bytes of a refused message that are held.
const MAX_HELD_BODY: usize = 256 * 1024;
/// Most questions that read files at once; the others wait.
const READERS: usize = 2;
/// Number of no lane, in [`Refused`].
const NO_LANE: u8 = 255;
/// Pause while a full queue drains before a stop.
const STOP_PAUSE: Duration = Duration::from_millis(5);

/// A handle to the running engine: cheap to clone, one for every task.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    config: EngineConfig,
    urgent: mpsc::Sender<Append<Known>>,
    commands: mpsc::Sender<Command<Known>>,
    questions: mpsc::Sender<Question>,
    door: SharedDoor,
    counters: Arc<Counters>,
    registry: Registry,
    folder: PoolFolder,
    readers: Semaphore,
    held: Mutex<Allowance>,
}

/// The engine's threads, for the one who stops it.
pub struct EngineThreads {
    commands: mpsc::Sender<Command<Known>>,
    log: LogThread,
    apply: JoinHandle<()>,
    keeper: JoinHandle<()>,
    filer: JoinHandle<()>,
    compactor: JoinHandle<()>,
    /// Dropped when the compactor is to end.
    compacting: SyncSender<()>,
    registry: Registry,
    registry_thread: JoinHandle<()>,
    /// Released last.
    _lock: File,
}

impl Engine {
    /// Recovers what is on disk and starts the threads. Live events go to `feed`.
    ///
    /// # Errors
    /// [`StartError`]: the data folder, the checkpoint, the database.
    pub fn start(config: EngineConfig, feed: Arc<Feed>) -> Result<(Self, EngineThreads), StartError> {
        Self::start_on(config, feed, |folder| folder)
    }

    /// The same with a disk of the caller's making under the log.
    pub(crate) fn start_on<S: Storage>(
        config: EngineConfig,
        feed: Arc<Feed>,
        disk: impl FnOnce(Folder) -> S,
    ) -> Result<(Self, EngineThreads), StartError> {
        let counters = Arc::new(Counters::default());
        let started_ms = now_ms();
        counters.set_started(started_ms);
        let lock = lock(&config.data)?;
        let url = config.database_url();
        let (registry, registry_thread) =
            Registry::start(&url, config.quarantine_bytes, Arc::clone(&counters))
                .map_err(|why| StartError::Database { url: without_password(&url), why })?;
        let recovered = recover(&config, lock, registry.clone(), &counters, started_ms, disk);
        let Recovered { state, log, keeper, lock } = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                registry.stop();
                let _ = registry_thread.join();
                return Err(error);
            }
        };
        apply_loop::counted(&state, &counters);
        let thread = |what| move |error| StartError::Io { what, path: "thread".into(), error };
        let folder = keeper.folder.clone();
        let (urgent, pressing) = mpsc::channel(crate::log::URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(crate::log::QUEUE);
        let (room, has_room) = watch::channel(true);
        let (questions, asked) = mpsc::channel(apply_loop::QUESTIONS);
        let (applied, committed) = mpsc::channel(apply_loop::QUEUE);
        let (cuts, to_keep) = sync_channel(1);
        let (done, kept) = mpsc::channel(1);
        let (settled, to_file) = sync_channel(1);
        let (file_done, filed) = mpsc::channel(1);
        let (compacting, stop) = sync_channel(1);
        let compactor = Compactor {
            folder: folder.clone(),
            windows_kept: Arc::clone(&keeper.windows_kept),
            budget: config.compaction,
        };
        let compactor = compactor.start(stop).map_err(thread("start"))?;
        let keeper = keeper.start(to_keep, done, Arc::clone(&counters)).map_err(thread("start"))?;
        let filer = filer::start(folder.clone(), to_file, file_done, Arc::clone(&counters))
            .map_err(thread("start"))?;
        let door = state.door.clone();
        let apply = ApplyLoop {
            state,
            committed,
            questions: asked,
            cuts,
            kept,
            settled,
            filed,
            log: commands.clone(),
            room,
            registry: registry.clone(),
            feed,
            counters: Arc::clone(&counters),
            parquet_every_ms: config.parquet_every_ms,
            windows_every_ms: config.windows_every_ms,
            parquet_rows: config.parquet_rows,
            is_alone: false,
            last_cut_ms: started_ms,
            last_windows_ms: started_ms,
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(thread("start"))?;
        let apply = std::thread::Builder::new()
            .name("apply".into())
            .spawn(move || runtime.block_on(apply.run()))
            .map_err(thread("start"))?;
        let log = LogThread::start(log, pressing, queue, has_room, Arc::clone(&counters), move |group| {
            // It ends only after the log.
            let _ = applied.blocking_send(group);
        })
        .map_err(thread("start"))?;
        let shared = Shared {
            config,
            urgent,
            commands: commands.clone(),
            questions,
            door,
            counters,
            registry: registry.clone(),
            folder,
            readers: Semaphore::new(READERS),
            held: Mutex::default(),
        };
        let threads = EngineThreads {
            commands,
            log,
            apply,
            keeper,
            filer,
            compactor,
            compacting,
            registry,
            registry_thread,
            _lock: lock,
        };
        Ok((Self { shared: Arc::new(shared) }, threads))
    }

    /// Returns when a thread of the engine has ended: told to, or because something is wrong in it. Then nothing is
    /// taken in any more; what was acknowledged is in the log, and a fresh start has it.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.shared.commands.closed() => {}
            () = self.shared.questions.closed() => {}
        }
    }

    /// Takes a frame that came under `topic_gateway`'s topic of `topic_lane`; returns when its fate is durable.
    pub async fn take_frame(
        &self,
        topic_gateway: &GatewayId,
        topic_lane: Lane,
        bytes: Vec<u8>,
        received_ms: i64,
    ) -> Taken {
        let source = topic_gateway.as_str();
        let header = match admit::header(topic_gateway, topic_lane, &bytes, &self.shared.config.registration)
        {
            Ok(header) => header,
            Err(refusal) => return self.refuse(source, Some(topic_lane), refusal, bytes, received_ms).await,
        };
        let (standing, crowded) = {
            let door = self.shared.door.lock();
            let standing = door.ledger.standing(&header.gateway, header.store, header.lane, header.sequence);
            let ledger = &door.ledger;
            (standing, ledger.gateways() >= MAX_GATEWAYS && !ledger.knows(&header.gateway))
        };
        if crowded {
            let detail = format!("{MAX_GATEWAYS} gateways have registered, there is no room for another");
            return Taken::Unavailable { detail };
        }
        match standing {
            // A seal that was set back to an old copy numbers its frames anew from there: what it says then must be heard, and
            // the office knows what it has heard before.
            Standing::Taken if header.lane != Lane::Seal => {
                self.shared.counters.repeat_at_door(header.lane, header.items);
                return Taken::Duplicate;
            }
            Standing::TooManyGaps => {
                let detail = format!(
                    "sequence {} would open another gap, and there are {} already: send the missing ones first",
                    header.sequence,
                    crate::pool::ledger::MAX_GAPS
                );
                return Taken::Unavailable { detail };
            }
            Standing::New | Standing::Lost | Standing::Taken => {}
        }
        let frame = match admit::content(&header, &bytes, received_ms) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse(source, Some(topic_lane), refusal, bytes, received_ms).await,
        };
        match self.append(kind::FRAME, source, bytes, Known::Frame(Box::new(frame)), received_ms).await {
            Ok(()) => Taken::Durable,
            Err(detail) => Taken::Unavailable { detail },
        }
    }

    /// Takes a SenML pack of `source`; returns when its fate is durable.
    pub async fn take_senml(
        &self,
        source: &GatewayId,
        format: SenmlFormat,
        body: Vec<u8>,
        received_ms: i64,
    ) -> SenmlTaken {
        if body.len() > MAX_PAYLOAD {
            let why =
                format!("the pack has {} bytes, at most {MAX_PAYLOAD} are accepted: split it", body.len());
            return SenmlTaken::Refused { refused: vec![(0, why)] };
        }
        let config = &self.shared.config;
        let mapped = config.mappings.map(source, format, &body, received_ms, &config.catalogue);
        if is_repeatable(&mapped) && self.shared.door.lock().knows_pack(source, fingerprint(&body)) {
            self.shared.counters.pack_at_door(mapped.readings.len());
            return SenmlTaken::Duplicate;
        }
        let kind = match format {
            SenmlFormat::Json => kind::SENML_JSON,
            SenmlFormat::Cbor => kind::SENML_CBOR,
        };
        let (accepted, refused) = (mapped.readings.len(), mapped.refused.clone());
        if !refused.is_empty()
            && !self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).take(received_ms)
        {
            return SenmlTaken::Unavailable {
                detail: "too many refused records at once: come again later".into(),
            };
        }
        match self.append(kind, source.as_str(), body, Known::Mapped(Box::new(mapped)), received_ms).await {
            Ok(()) if accepted == 0 => SenmlTaken::Refused { refused },
            Ok(()) => SenmlTaken::Durable { accepted, refused },
            Err(detail) => SenmlTaken::Unavailable { detail },
        }
    }

    /// Holds a message in the quarantine; returns when that is durable. `source` is who sent it, as far as known;
    /// `lane` the one its topic names.
    pub async fn refuse(
        &self,
        source: &str,
        lane: Option<Lane>,
        refusal: Refusal,
        mut body: Vec<u8>,
        received_ms: i64,
    ) -> Taken {
        let Refusal { reason, mut detail } = refusal;
        if !self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).take(received_ms) {
            let detail =
                format!("too many refused messages at once, this one because {detail}: come again later");
            return Taken::Unavailable { detail };
        }
        if body.len() > MAX_HELD_BODY {
            detail = format!("{detail}; of {} bytes the first {MAX_HELD_BODY} are held", body.len());
            body.truncate(MAX_HELD_BODY);
        }
        let lane = lane.map_or(NO_LANE, |lane| lane as u8);
        let refused = Refused { lane, reason: reason as u8, detail: detail.clone(), body };
        let mut source = source.to_owned();
        while source.len() > 64 {
            source.pop();
        }
        match self.append(kind::REFUSED, &source, encode(&refused), Known::Nothing, received_ms).await {
            Ok(()) => Taken::Refused { reason, detail },
            Err(detail) => Taken::Unavailable { detail },
        }
    }

    /// Makes a record durable. The error is for people.
    pub(crate) async fn append(
        &self,
        kind: u8,
        source: &str,
        payload: Vec<u8>,
        known: Known,
        received_ms: i64,
    ) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let append = Append { received_ms, kind, source: source.to_owned(), payload, known, done };
        let stopping = || "ingest is stopping".to_owned();
        if is_urgent(&append.known) {
            self.shared.urgent.send(append).await.map_err(|_| stopping())?;
        } else {
            self.shared.commands.send(Command::Append(append)).await.map_err(|_| stopping())?;
        }
        answer.await.map_err(|_| stopping())?
    }

    /// Asks the state something; runs on the apply thread between two groups, so keep it short.
    ///
    /// # Errors
    /// [`Stopped`] when the engine has ended.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, wait) = oneshot::channel();
        let question: Question = Box::new(move |state| {
            // Whoever asked may have gone away.
            let _ = answer.send(question(state));
        });
        self.shared.questions.send(question).await.map_err(|_| Stopped)?;
        wait.await.map_err(|_| Stopped)
    }

    /// Reads files on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let _turn = self.shared.readers.acquire().await.map_err(|_| ViewError::Stopped)?;
        self.work(read).await
    }

    /// Works on a thread that may take some milliseconds; nobody waits for a turn.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let worked = tokio::task::spawn_blocking(work).await;
        worked.map_err(|_| ViewError::Stopped)?.map_err(|error| ViewError::Storage(error.to_string()))
    }

    /// Counts that cost nothing to read.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How the engine works.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// How many messages wait for the log, those of the commit that runs now not among them.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.commands.max_capacity() - self.shared.commands.capacity()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Tells when something that a seal has sent is in the database.
    pub fn mail(&self) -> Arc<tokio::sync::Notify> {
        self.shared.registry.mail()
    }

    pub(crate) fn folder(&self) -> &PoolFolder {
        &self.shared.folder
    }
}

impl EngineThreads {
    /// Finishes what was taken in, writes it to Parquet and SQL, makes a checkpoint and ends. Blocks meanwhile.
    /// Messages that come now are answered "unavailable".
    pub fn stop(self) {
        // Not a blocking send: the caller may be a task.
        while let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(Command::Stop) {
            std::thread::sleep(STOP_PAUSE);
        }
        self.log.join();
        drop(self.compacting);
        let handles = [
            ("apply", self.apply),
            ("keeper", self.keeper),
            ("filer", self.filer),
            ("compactor", self.compactor),
        ];
        for (name, handle) in handles {
            if handle.join().is_err() {
                tracing::error!(name, "a thread of the engine panicked");
            }
        }
        self.registry.stop();
        if self.registry_thread.join().is_err() {
            tracing::error!(name = "registry", "a thread of the engine panicked");
        }
    }
}

/// Whether a message may overtake all others on its way into the log: alarms and seal receipts.
fn is_urgent(known: &Known) -> bool {
    matches!(known, Known::Frame(frame) if matches!(frame.payload.lane(), Lane::Alarm | Lane::Seal))
}

fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Why a message under an unknown topic is held.
pub fn unknown_topic(topic: &str) -> Refusal {
    let topic: String = topic.chars().take(200).collect();
    Refusal { reason: Reason::UnknownTopic, detail: format!("the topic is {topic:?}") }
}
