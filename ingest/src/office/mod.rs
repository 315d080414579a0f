//! The office of seals: what may be stamped is applied for, approved and granted here, and what was stamped is put on record.
//!
//! ```text
//! application ─► draft ─► approvals (each by a person's own key) ─► grant ─► log, witnesses ─► seal
//!                                                                               ▲
//! seal ─► receipts, hellos ─► inbox (SQL, with the engine's records) ─► compare ─┘
//! ```
//!
//! # What it must do
//! - It grants nothing alone: rules are signed by roots, grants by approvers, and a seal takes neither without the log's
//!   proof and a witness. Whoever owns this machine can refuse and delay, not stamp.
//! - Whatever it signs or receives lies in SQL before anybody is told, and then in the log, in one order. A crash between
//!   the two is mended at the next start: what the log has behind what SQL knows is found again by its digest.
//! - What a seal says is kept whatever it says. What does not agree is a finding, told at once.
//!
//! # Layout
//! - [`book`]: what is known of a seal, and comparing; [`earlier`]: what a key says that it had before; [`finding`]: what
//!   does not agree (all pure)
//! - [`draft`]: from application to grant; [`answer`]: what a seal is told (both pure); [`deputies`]: who approves in whose
//!   place
//! - [`mail`]: what seals have sent; `pictures`: photographs
//! - [`acts`]: what people do; [`ask`]: what people ask; [`check`]: is an impression covered
//! - [`audit`]: the whole log, read by a stranger (pure); [`command`]: `ingest seal`
//! - `sql`: statements

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seal::envelope::{Envelope, Kind};
use seal::grant::{MAX_PRESENTED, Presented};
use seal::keys::{Digest, MemoryKey, PublicKey, digest};
use seal::note::NoteKey;
use seal::notice::{self, Deed, Notice};
use seal::policy::{Policy, Roots};
use seal::proof::LogTrust;
use sqlx::AnyConnection;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use wire::GatewayId;

use crate::clock::now_ms;
use crate::database;
use crate::feeds::Feed;
use crate::tlog::keyfile::{self, KeyFileError, KeyRole, NamedKey};
use crate::tlog::{Cosigned, Folder, MAX_GROUP, Rounds, Tiles, Tlog, TlogError, WitnessAt};

pub mod acts;
pub mod answer;
pub mod ask;
pub mod audit;
pub mod book;
pub mod check;
pub mod command;
pub mod deputies;
pub mod draft;
pub mod earlier;
pub mod finding;
mod mail;
mod pictures;
mod sql;
#[cfg(test)]
mod tests;

use draft::No;
use sql::Leaf;

/// How often it looks for work that nobody has told it of.
const TICK: Duration = Duration::from_secs(5);
/// Most grants that are handed to a seal at once: it asks again.
const HANDED: i64 = 8;

/// Sends something to the seal of a gateway, if that is connected here; whether it was sent. Nothing depends on it: a seal asks.
pub type Downlink = Arc<dyn Fn(&GatewayId, Vec<u8>) -> bool + Send + Sync>;

/// How the office is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of the database.
    pub database: String,
    /// Folder of the log's files and of photographs.
    pub folder: PathBuf,
    /// File of the log's key.
    pub log_key: PathBuf,
    /// File of the issuer's key.
    pub issuer_key: PathBuf,
    /// Who watches the log.
    pub witnesses: Vec<WitnessAt>,
    /// How many of them have to have seen a grant before a seal is given it.
    pub witnesses_needed: usize,
    /// Who decides about rules.
    pub roots: Vec<PublicKey>,
    /// How many of them have to.
    pub roots_needed: usize,
    /// How long a photograph may take that a receipt names.
    pub photo_patience: Duration,
}

/// Why the office does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// It cannot be: for the person who asked.
    #[error("{}", .0.en)]
    No(No),
    /// There is nothing of this name.
    #[error("there is no {what} {name:?}")]
    NotThere {
        /// What was asked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The database.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The log.
    #[error("the log cannot be written: {0}")]
    Log(#[from] TlogError),
    /// The log was set back to an older copy.
    #[error(
        "日志只有 {log} 片，数据库已知 {known} 片：日志被回退，拒绝继续签发 the log has {log} leaves and the database knows {known}: it was set \
         back to an older copy, and nothing is signed over it. Bring back its folder"
    )]
    SetBack {
        /// Leaves of the log.
        log: u64,
        /// Leaves that the database knows.
        known: u64,
    },
    /// The log has what the database does not know.
    #[error(
        "数据库不认识日志第 {index} 片：数据库被回退，拒绝继续签发 the database does not know leaf {index} of the log: it was set back to an \
         older copy, and nothing is signed over it. Bring back the newest one"
    )]
    Ahead {
        /// The leaf.
        index: u64,
    },
    /// A file.
    #[error("a file cannot be written: {0}")]
    File(#[from] std::io::Error),
    /// A file of a key.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key that does not sign.
    #[error("the issuer's key does not sign")]
    Key,
}

impl From<No> for OfficeError {
    fn from(no: No) -> Self {
        OfficeError::No(no)
    }
}

/// A handle to the office; clones share it.
#[derive(Clone)]
pub struct Office {
    shared: Arc<Shared>,
}

struct Shared {
    desk: Mutex<Desk>,
    tiles: Tiles,
    cosigned: watch::Receiver<Cosigned>,
    /// Ends the asking of witnesses when it is dropped.
    _rounds: Rounds,
    settings: Settings,
    issuer: MemoryKey,
    log: NoteKey,
    /// There may be mail, or leaves for the log.
    work: Arc<Notify>,
    downlink: Downlink,
    feed: Arc<Feed>,
}

/// What one works at at a time.
struct Desk {
    connection: AnyConnection,
    log: Tlog,
    /// Whether the log may have what SQL does not know: since a start, or since SQL failed after the log was written.
    is_ahead: bool,
    /// A letter that could not be taken, and how often it was tried.
    stuck: (i64, u32),
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// The office's own task, for the one who stops it.
#[derive(Debug)]
pub struct OfficeTask(JoinHandle<()>);

impl OfficeTask {
    /// Ends it between two pieces of work, or in one: what is half done is done at the next start.
    pub fn stop(self) {
        self.0.abort();
    }
}

impl Office {
    /// Opens database and log, brings them together and starts to work. `mail` tells that the engine has put something into
    /// the inbox. Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`OfficeError`]: the database, the log.
    pub async fn start(
        settings: Settings,
        mail: Arc<Notify>,
        downlink: Downlink,
        feed: Arc<Feed>,
    ) -> Result<(Self, OfficeTask), OfficeError> {
        let connection = database::open(&settings.database).await?;
        let NamedKey { public, signer } = keyfile::load(&settings.log_key, KeyRole::Log)?;
        let issuer = keyfile::load(&settings.issuer_key, KeyRole::Signer)?.signer;
        let storage = Folder::open(&settings.folder.join("log"))?;
        let log = Tlog::open(storage, &public.name, Box::new(signer))?;
        let rounds = Rounds::start(&log, settings.witnesses.clone(), settings.witnesses_needed);
        let desk = Desk { connection, log, is_ahead: true, stuck: (0, 0) };
        let shared = Shared {
            tiles: desk.log.tiles(),
            cosigned: rounds.cosigned(),
            _rounds: rounds,
            issuer,
            log: public,
            desk: Mutex::new(desk),
            settings,
            work: mail,
            downlink,
            feed,
        };
        let office = Self { shared: Arc::new(shared) };
        let task = tokio::spawn(office.clone().run());
        Ok((office, OfficeTask(task)))
    }

    /// Works until it is stopped.
    async fn run(self) {
        let mut cosigned = self.shared.cosigned.clone();
        // What was cosigned before the start may not have been told.
        let mut told = 0;
        loop {
            if let Err(error) = self.work().await {
                tracing::error!(%error, "印章业务暂停，将重试 the office of seals cannot work: trying again");
                self.mend().await;
            }
            let size = cosigned.borrow_and_update().size;
            if size > told {
                match self.tell(told, size).await {
                    Ok(()) => told = size,
                    Err(error) => {
                        tracing::error!(%error, "seals are not told that there is something for them")
                    }
                }
            }
            tokio::select! {
                () = self.shared.work.notified() => {}
                changed = cosigned.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Looks through the mail, then logs what is signed and not logged.
    async fn work(&self) -> Result<(), OfficeError> {
        loop {
            // What is signed goes into the log whatever lies in the mail.
            let logged = self.log_leaves().await?;
            let count = self.sort_mail().await?;
            if count == 0 && logged == 0 {
                break;
            }
        }
        // Where photographs cannot be kept, that they are missing is told all the same.
        for done in [self.keep_pictures(now_ms()).await, self.miss_pictures(now_ms()).await] {
            if let Err(error) = done {
                tracing::error!(%error, "照片无法保存 photographs cannot be kept: trying again");
            }
        }
        Ok(())
    }

    /// A server may have gone away: the next try gets a fresh connection.
    async fn mend(&self) {
        let mut desk = self.shared.desk.lock().await;
        match database::connect(&self.shared.settings.database).await {
            Ok(connection) => desk.connection = connection,
            Err(error) => tracing::warn!(%error, "the database cannot be reached"),
        }
    }

    /// Logs what is signed and not logged; how many.
    async fn log_leaves(&self) -> Result<usize, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        desk.find_again().await?;
        let Desk { connection, log, is_ahead, .. } = &mut *desk;
        let leaves = sql::unlogged(connection, MAX_GROUP as i64).await?;
        if leaves.is_empty() {
            return Ok(0);
        }
        let bodies: Vec<&[u8]> = leaves.iter().map(|leaf| leaf.body.as_slice()).collect();
        *is_ahead = true;
        let first = tokio::task::block_in_place(|| log.append(&bodies))?;
        let mut transaction = sql::begin(connection).await?;
        for (index, leaf) in (first..).zip(&leaves) {
            sql::logged(&mut transaction, &leaf.digest, index).await?;
        }
        transaction.commit().await?;
        *is_ahead = false;
        Ok(leaves.len())
    }

    /// Tells seals that witnesses have seen something for them.
    async fn tell(&self, from: u64, to: u64) -> Result<(), OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        for name in sql::seals_between(&mut desk.connection, from, to).await? {
            if let Some(book) = sql::book(&mut desk.connection, &name).await? {
                (self.shared.downlink)(&book.gateway, Vec::new());
            }
        }
        Ok(())
    }

    /// A leaf with the proof that witnesses have seen it; `None` while they have not.
    fn presented(&self, leaf: &Leaf) -> Result<Option<Vec<u8>>, OfficeError> {
        let Some(proof) = self.proof(leaf)? else { return Ok(None) };
        let bytes = Presented { grant: &leaf.body, proof: proof.as_bytes() }.to_bytes();
        if bytes.len() > MAX_PRESENTED {
            tracing::error!(
                bytes = bytes.len(),
                seal = leaf.seal,
                "it is too large with its proof for any seal"
            );
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// The proof that witnesses have seen a leaf; `None` while they have not.
    fn proof(&self, leaf: &Leaf) -> Result<Option<String>, OfficeError> {
        let cosigned = self.shared.cosigned.borrow().clone();
        let index = leaf.index.filter(|&index| index < cosigned.size && cosigned.count >= self.needed());
        let Some(index) = index else { return Ok(None) };
        Ok(Some(tokio::task::block_in_place(|| self.shared.tiles.proof(index, &cosigned.note))?))
    }

    fn needed(&self) -> usize {
        self.shared.settings.witnesses_needed.max(1)
    }

    /// The log's files, for whoever serves them.
    pub fn tiles(&self) -> Tiles {
        self.shared.tiles.clone()
    }

    /// The log and its witnesses.
    pub fn log_trust(&self) -> LogTrust {
        let settings = &self.shared.settings;
        LogTrust {
            log: self.shared.log.clone(),
            witnesses: settings.witnesses.iter().map(|witness| witness.key.clone()).collect(),
            needed: self.needed(),
        }
    }

    /// The key of the issuer.
    pub fn issuer(&self) -> PublicKey {
        seal::keys::Signer::public(&self.shared.issuer)
    }

    /// Who decides about the rules of a seal.
    pub fn roots(&self, seal: &str) -> Roots {
        let settings = &self.shared.settings;
        Roots {
            seal: seal.into(),
            keys: settings.roots.clone(),
            needed: settings.roots_needed,
            log: self.log_trust(),
        }
    }

    /// A notice that the issuer has signed, as a leaf.
    fn notice(&self, seal: &str, by: &str, deed: Deed, now_ms: i64) -> Result<Leaf, OfficeError> {
        // Looked for when a receipt is checked.
        let kind = if matches!(deed, Deed::Enrolled { .. }) { "enrolment" } else { "notice" };
        let notice = Notice { version: notice::VERSION, at_s: seconds(now_ms), by: by.into(), deed };
        let payload = notice.to_bytes();
        let envelope =
            Envelope::sign(Kind::Notice, &payload, &[&self.shared.issuer]).ok_or(OfficeError::Key)?;
        Ok(leaf_of(kind, seal, envelope.to_bytes(), now_ms))
    }

    fn publish(&self, what: &serde_json::Value) {
        self.shared.feed.publish("seal", what.clone());
    }
}

impl Desk {
    /// Finds again what the log has and SQL does not know, by its digest.
    async fn find_again(&mut self) -> Result<(), OfficeError> {
        if !self.is_ahead {
            return Ok(());
        }
        let (from, tiles) = (sql::log_size(&mut self.connection).await?, self.log.tiles());
        if tiles.size() < from {
            return Err(OfficeError::SetBack { log: tiles.size(), known: from });
        }
        let mut transaction = sql::begin(&mut self.connection).await?;
        for index in from..tiles.size() {
            let body = tokio::task::block_in_place(|| tiles.leaf(index))?;
            if !sql::logged(&mut transaction, &digest(&[&body]), index).await? {
                return Err(OfficeError::Ahead { index });
            }
        }
        transaction.commit().await?;
        self.is_ahead = false;
        Ok(())
    }
}

/// Something that is signed, on its way into the log.
fn leaf_of(kind: &str, seal: &str, body: Vec<u8>, now_ms: i64) -> Leaf {
    Leaf { digest: digest(&[&body]), kind: kind.into(), seal: seal.into(), at_ms: now_ms, body, index: None }
}

/// Seconds since 1970 of milliseconds.
fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or_default()
}

/// The seal for which rules are, as far as they can be read.
pub fn seal_of_policy(bytes: &[u8]) -> Option<String> {
    Some(Policy::read(Envelope::read(Kind::Policy, bytes).ok()?.payload)?.seal)
}

/// The rules in a leaf of SQL's.
fn policy_of(leaf: &Leaf) -> Option<Policy> {
    Policy::read(Envelope::read(Kind::Policy, &leaf.body).ok()?.payload)
}

/// Hexadecimal digits, two for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] writes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The file name of a photograph.
fn picture_name(digest: &Digest) -> String {
    format!("{}.jpg", hex(&digest[..]))
}
