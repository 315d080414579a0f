//! A smart seal: what hangs on the gateway and stamps only what was granted.
//!
//! ```text
//! authority ──MQTT──► courier ──┐                        ┌──► hands, camera, counter, keypad
//!                               ├──► the seal's thread ──┤
//! clerk ──seal.sock──► desk ────┘    one use at a time   └──► journal: notes and frames in the buffer, one write
//! ```
//! What is decided is decided in the crate `seal`, which is pure; here it is carried out. The journal lies in the same store
//! as the frames: an entry and the receipt or the photographs that belong to it are there together or not at all. A
//! journal that fails once stops everything: the seal is closed, and reads what there is as after a start.
//!
//! A seal may also be a device of its own at the end of a serial line, with its own key, memory and decision. Then this
//! gateway carries its mail, see [`lines`].
//!
//! # Time
//! A grant needs a clock that is known to be right. Where no time service reaches a village, the authority does: its
//! signed answer to a fresh question says what time it is, and if it came at once that is as good ([`contact`]).
//!
//! # What it cannot do
//! - A program that is killed leaves the lock as it is until the next start: the electronics need a limit of their own.
//! - Memory, counter and key lie on the box's card. Whoever takes the card can copy all of it and go back in time as a
//!   whole; the authority then hears numbers that it has heard before. A chip that counts and signs ends that.
//! - The place is the one in the configuration: a box that is carried away says that it is still there. Its tamper contacts
//!   must say that it was moved.
//! - The desk believes whoever can open its socket, and those people alone: the user that the gateway runs as.
//!
//! # Layout
//! - [`driver`]: the thread that does one thing after the other; `driver/steps`: the steps of a use; `driver/talk`: what
//!   authority and desk want
//! - [`journal`]: what is remembered over a power cut; [`grants`]: what may be stamped, as far as is known here (pure)
//! - [`contact`]: when to ask the authority, and what its answers are worth (pure)
//! - [`papers`]: receipts, hellos, photographs in parts (pure)
//! - [`eyes`]: the camera, on a thread of its own; [`people`]: who somebody is who types a PIN or shows a card
//! - [`desk`]: the local interface; [`words`]: what it says, for people
//! - [`lines`]: seals at the ends of serial lines; [`ferry`]: a line and its port
//! - [`key`]: the key of the device, and of lines; who decides about its rules: [`configs::roots`]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ::seal::grant::Id;
use ::seal::receipt::{Position, TimeQuality};
use wire::ClockState;

use crate::buffer::Buffer;
use crate::clock::Timekeeper;
use crate::config::{Config, SealConfig};
use crate::sample::Stop;

pub mod contact;
pub mod desk;
pub mod driver;
pub mod eyes;
pub mod ferry;
pub mod grants;
pub mod journal;
pub mod key;
pub mod lines;
pub mod papers;
pub mod people;
pub mod words;

#[cfg(test)]
#[path = "../../tests/authority/mod.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod authority;

use desk::Request;
use driver::{Driver, Now, Tools};
use journal::Journal;
use lines::Lines;

/// What authority and desk want and the thread has not looked at yet: it looks every few ms, so more is a flood.
const WISHES: usize = 32;
/// Metres by which the place in the configuration may be wrong: an installer reads it from a map or a telephone.
const PLACE_M: u32 = 20;

/// Somebody wants something.
#[derive(Debug)]
pub enum Wish {
    /// The authority has sent this.
    Said(Vec<u8>),
    /// Somebody at the desk asks; the answer is JSON.
    Desk(Request, tokio::sync::oneshot::Sender<serde_json::Value>),
}

/// What the rest of the gateway has of its seals; clones reach the same ones.
#[derive(Debug, Clone)]
pub struct Link {
    /// Of the seal that hangs on the gateway itself, if one does.
    wishes: Option<SyncSender<Wish>>,
    lines: Option<Lines>,
    is_online: Arc<AtomicBool>,
}

impl Link {
    /// A seal that is alone, and what it hears.
    pub fn alone() -> (Self, Receiver<Wish>) {
        let (wishes, inbox) = sync_channel(WISHES);
        (Self { wishes: Some(wishes), lines: None, is_online: Arc::default() }, inbox)
    }

    /// Passes on what the authority has sent. When there is no room it is dropped: the seal asks again.
    pub fn said(&self, bytes: Vec<u8>) {
        if self.lines.as_ref().is_some_and(|lines| lines.said(&bytes)) {
            return;
        }
        if self.wishes.as_ref().is_some_and(|wishes| wishes.try_send(Wish::Said(bytes)).is_err()) {
            tracing::warn!(
                "the seal is busy: what the authority has sent is dropped, it will be asked again"
            );
        }
    }

    /// Says whether the connection to ingest stands.
    pub fn online(&self, is_online: bool) {
        self.is_online.store(is_online, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn is_online(&self) -> bool {
        self.is_online.load(Ordering::Relaxed)
    }

    /// Passes on a wish of the desk, if there is a seal, and room.
    pub(crate) fn wish(&self, wish: Wish) -> Result<(), NoWish> {
        let wishes = self.wishes.as_ref().ok_or(NoWish::NoSeal)?;
        wishes.try_send(wish).map_err(|_| NoWish::Busy)
    }

    /// The seals at the ends of lines.
    pub(crate) fn lines(&self) -> Option<&Lines> {
        self.lines.as_ref()
    }
}

/// Why a wish is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWish {
    /// No seal hangs on the gateway itself.
    NoSeal,
    /// It is too busy, or has ended.
    Busy,
}

/// Why a seal could not be started; each line says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Its hardware.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Parts(Vec<boards::seal::OpenError>),
    /// The key of the device.
    #[error(transparent)]
    Key(#[from] key::KeyError),
    /// The file of people.
    #[error("{0}")]
    People(String),
    /// What it remembers.
    #[error("what the seal remembers cannot be read: {0}")]
    Journal(#[from] crate::buffer::NotKept),
    /// The system.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Seals that run.
#[derive(Debug)]
pub struct Running {
    /// How the others reach them.
    pub link: Link,
    threads: Vec<JoinHandle<()>>,
    desk: tokio::task::JoinHandle<()>,
    socket: PathBuf,
}

impl Running {
    /// Ready once their threads have ended, which they do after the stop.
    pub async fn ended(self) {
        // A thread that panicked has said so.
        let join = || self.threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
        self.desk.abort();
        // It is only a name: the next start takes it away as well.
        let _ = std::fs::remove_file(self.socket);
    }
}

/// Starts the seal that hangs here, the lines to others, and their desk.
///
/// # Errors
/// [`SealError`]. Where there are both, what cannot be started of them is told and left out.
pub async fn start(
    config: &Config,
    buffer: &Buffer,
    time: &Timekeeper,
    stop: &Stop,
) -> Result<Running, SealError> {
    let listener = desk::open(&config.data)?;
    let is_online = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let lines = match Lines::start(&config.seal_lines, &config.data, buffer, time, &is_online, stop) {
        Ok((lines, started)) => {
            threads.extend(started);
            Some(lines)
        }
        Err(error) if config.seal.is_none() => return Err(error),
        Err(error) => {
            tracing::error!(%error, "印章线路无法启动，本机印章照常 the lines to seals cannot be started: the seal on this gateway goes on");
            None
        }
    };
    let mut wishes = None;
    if let Some(seal) = &config.seal {
        match drive(config, seal, buffer, time, stop, &is_online).await {
            Ok((its_wishes, thread)) => {
                wishes = Some(its_wishes);
                threads.push(thread);
            }
            Err(error) if config.seal_lines.is_empty() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "印章无法启动，线路上的印章照常 the seal cannot be started: those on lines go on");
            }
        }
    }
    let link = Link { wishes, lines, is_online };
    let desk = tokio::spawn(desk::serve(listener, link.clone()));
    Ok(Running { link, threads, desk, socket: desk::socket(&config.data) })
}

/// Opens what a seal is made of.
///
/// # Errors
/// [`SealError`].
pub fn tools(
    config: &Config,
    seal: &SealConfig,
    journal: Box<dyn Journal>,
    has_memory: bool,
    time: &Timekeeper,
) -> Result<Tools, SealError> {
    let key = key::load(&seal.key)?;
    let people = seal.people.as_deref().map_or_else(|| Ok(people::People::default()), read_people)?;
    // A missing counter begins at zero only where nothing was ever remembered.
    let mut spec = seal.spec.clone();
    let boards::seal::CounterSpec::File { may_begin, .. } = &mut spec.counter;
    *may_begin = !has_memory;
    let parts = boards::seal::open(&spec, &config.board, time.now_ms()).map_err(SealError::Parts)?;
    let clock = time.clone();
    let place = &config.place;
    Ok(Tools {
        hands: parts.hands,
        eyes: parts.camera.map(eyes::Watching::start).transpose()?.map(|eyes| Box::new(eyes) as _),
        counter: parts.counter,
        reader: parts.reader,
        journal,
        key: Box::new(key),
        roots: seal.roots.clone(),
        people,
        position: Some(Position {
            datum: place.datum,
            lat_e7: (place.lat() * 1e7) as i32,
            lon_e7: (place.lon() * 1e7) as i32,
            accuracy_m: PLACE_M,
        }),
        hello_ms: seal.hello_ms,
        random: Box::new(|| random().ok()),
        now: Box::new(move || now(&clock)),
    })
}

/// Starts the thread of a seal with these tools, which hears `inbox`. It closes the seal when it ends, however it ends.
///
/// # Errors
/// [`SealError`].
pub fn spawn(
    tools: Tools,
    inbox: Receiver<Wish>,
    stop: &Stop,
    may_ask: impl Fn() -> bool + Send + 'static,
) -> Result<JoinHandle<()>, SealError> {
    let driver = Driver::new(tools, random().map_err(SealError::Random)?);
    let stop = stop.clone();
    Ok(std::thread::Builder::new().name("seal".into()).spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(|| driver.run(&inbox, &stop, may_ask)));
        if ended.is_err() {
            tracing::error!("印章线程异常终止，请重启网关 the thread of the seal has panicked: it is closed, restart the gateway and report this");
        }
    })?)
}

/// Starts the seal that hangs on this gateway.
async fn drive(
    config: &Config,
    seal: &SealConfig,
    buffer: &Buffer,
    time: &Timekeeper,
    stop: &Stop,
    is_online: &Arc<AtomicBool>,
) -> Result<(SyncSender<Wish>, JoinHandle<()>), SealError> {
    let has_memory = buffer.recall().await?.notes.iter().any(|(name, _)| journal::is_ours(name));
    let journal = journal::BufferJournal::new(buffer.clone());
    let tools = tools(config, seal, Box::new(journal), has_memory, time)?;
    let (wishes, inbox) = sync_channel(WISHES);
    let (heads, online) = (buffer.heads(), Arc::clone(is_online));
    // What was signed before goes before, as frames go in order: then a hello is answered by one who has it all. A seal on a
    // line, which has no end of mail, must not keep this one from asking.
    let may_ask =
        move || online.load(Ordering::Relaxed) && heads.borrow().backlog(wire::Lane::Seal) <= lines::FEW;
    let thread = spawn(tools, inbox, stop, may_ask)?;
    tracing::info!(seal = seal.roots.seal, "印章服务已启动 the seal is watched");
    Ok((wishes, thread))
}

/// Reads the file of people.
///
/// # Errors
/// Every mistake of it.
pub fn read_people(path: &std::path::Path) -> Result<people::People, SealError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| SealError::People(format!("{name}: {error}")))?;
    people::People::parse(&name, &text).map_err(|problems| SealError::People(problems.to_string()))
}

/// 128 bits that nobody can guess.
fn random() -> Result<Id, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.into())
}

/// What the gateway's clocks say. Where they are not sure, it is a time that has certainly passed.
fn now(time: &Timekeeper) -> Now {
    let stamp = time.stamp();
    let (at_ms, quality) = match stamp.clock.state {
        ClockState::Synchronised => (stamp.clock.wall_ms(stamp.mono_ms), TimeQuality::Synced),
        _ => (time.passed_ms(), TimeQuality::Floor),
    };
    Now { mono_ms: stamp.mono_ms, at_s: u64::try_from(at_ms / 1000).unwrap_or(0), time: quality }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
