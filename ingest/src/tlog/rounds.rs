//! Asking all witnesses, whenever the log has grown, and keeping the newest checkpoint that enough of them cosigned.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seal::note::{Checkpoint, MAX_SIGNATURES, Note, NoteKey};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::cosign::{Trouble, WitnessAt, ask};
use super::storage::{Storage, put};
use super::{COSIGNED, Tiles, Tlog, TlogError};
use crate::clock::now_ms;

/// Most witnesses of one log: each has a line in a note, the log has one.
const MAX_WITNESSES: usize = MAX_SIGNATURES - 1;
/// How long a round waits for another answer while there are too few cosignatures.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for another one when there are enough: a witness next door answers within one sync.
const GRACE: Duration = Duration::from_millis(300);
/// After a failure a witness has peace for so long, and twice as long each time …
const FIRST_PAUSE_MS: i64 = 1000;
/// … up to this: a witness that is back is used again within a minute.
const LONGEST_PAUSE_MS: i64 = 60_000;

/// The newest checkpoint that witnesses have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// How many leaves it has.
    pub size: u64,
    /// How many witnesses cosigned it: fewer than needed only as long as no checkpoint had enough.
    pub count: usize,
    /// The note with their lines. Empty when nothing was cosigned yet.
    pub note: Arc<str>,
}

impl Cosigned {
    /// What a note says that these witnesses may have cosigned.
    fn of(note: Arc<str>, witnesses: &[WitnessAt]) -> Self {
        let read = Note::parse(note.as_bytes());
        let size = read
            .as_ref()
            .and_then(|read| Checkpoint::parse(read.text))
            .map_or(0, |checkpoint| checkpoint.size);
        let is_on = |key: &NoteKey| read.as_ref().is_some_and(|read| read.cosigned_s(key).is_some());
        let count = witnesses.iter().filter(|witness| is_on(&witness.key)).count();
        Self { size, count, note }
    }

    /// Whether this is worth more than another one: enough witnesses first, then more leaves.
    fn is_better_than(&self, other: &Self, needed: usize) -> bool {
        let worth = |one: &Self| (one.count >= needed, one.size, one.count);
        self.count > 0 && worth(self) > worth(other)
    }
}

/// When a witness may be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pause {
    failures: u32,
    until_ms: i64,
}

impl Pause {
    fn after_failure(self, now_ms: i64) -> Self {
        let pause_ms = LONGEST_PAUSE_MS.min(FIRST_PAUSE_MS << self.failures.min(16));
        Self { failures: self.failures.saturating_add(1), until_ms: now_ms.saturating_add(pause_ms) }
    }

    /// How long it still has peace; a clock that was set back does not make that longer than a pause is.
    fn left_ms(self, now_ms: i64) -> i64 {
        (self.until_ms.saturating_sub(now_ms)).clamp(0, LONGEST_PAUSE_MS)
    }
}

/// What is known of one witness.
struct Asked {
    at: WitnessAt,
    /// The size that it has seen last, as far as is known.
    knows: u64,
    pause: Pause,
    /// Its line on the checkpoint of this round.
    line: Option<String>,
}

/// The task that asks. Ends when this is dropped.
pub struct Rounds {
    cosigned: watch::Receiver<Cosigned>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rounds").field("cosigned", &*self.cosigned.borrow()).finish_non_exhaustive()
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rounds {
    /// Asks these witnesses, the first fifteen of them, from now on; `needed` of them are enough. Needs a tokio runtime.
    pub fn start<S: Storage>(log: &Tlog<S>, witnesses: Vec<WitnessAt>, needed: usize) -> Self {
        let (tiles, sizes) = (log.tiles(), log.sizes());
        let witnesses: Vec<WitnessAt> = witnesses.into_iter().take(MAX_WITNESSES).collect();
        let note = tiles.seen().cosigned.clone().unwrap_or_default();
        let (tell, cosigned) = watch::channel(Cosigned::of(note, &witnesses));
        let asked = |at| Asked { at, knows: 0, pause: Pause::default(), line: None };
        let asked = witnesses.into_iter().map(asked).collect();
        let asking = Asking { tiles, sizes, asked, needed: needed.max(1), tell };
        Self { cosigned, task: tokio::spawn(asking.run()) }
    }

    /// The newest cosigned checkpoint, durable before it is told.
    pub fn cosigned(&self) -> watch::Receiver<Cosigned> {
        self.cosigned.clone()
    }
}

struct Asking<S: Storage> {
    tiles: Tiles<S>,
    sizes: watch::Receiver<u64>,
    asked: Vec<Asked>,
    needed: usize,
    tell: watch::Sender<Cosigned>,
}

impl<S: Storage> Asking<S> {
    async fn run(mut self) {
        let mut of = 0;
        loop {
            self.sizes.mark_unchanged();
            let (size, note) = {
                let seen = self.tiles.seen();
                (seen.tail.size(), seen.note.clone())
            };
            if size != of {
                self.asked.iter_mut().for_each(|one| one.line = None);
                of = size;
            }
            // A log without leaves has nothing to witness.
            if size > 0 {
                self.round(size, &note).await;
            }
            let pauses =
                self.asked.iter().filter(|one| one.line.is_none()).map(|one| one.pause.left_ms(now_ms()));
            let again =
                pauses.min().filter(|_| size > 0).map(|left_ms| Duration::from_millis(left_ms.max(1) as u64));
            let grown = async {
                match again {
                    Some(again) => tokio::time::timeout(again, self.sizes.changed()).await.unwrap_or(Ok(())),
                    None => self.sizes.changed().await,
                }
            };
            if grown.await.is_err() {
                // The log is closed: nothing more can come.
                return;
            }
        }
    }

    /// Asks everybody who has not cosigned this checkpoint and has no pause.
    async fn round(&mut self, size: u64, note: &Arc<str>) {
        let now = now_ms();
        let mut answers = JoinSet::new();
        for (number, one) in self.asked.iter().enumerate() {
            if one.line.is_some() || one.pause.left_ms(now) > 0 {
                continue;
            }
            let (tiles, at, mut knows, note) = (self.tiles.clone(), one.at.clone(), one.knows, note.clone());
            answers.spawn_blocking(move || {
                let answer = ask(&tiles, &at, &mut knows, (size, &note));
                (number, knows, answer)
            });
        }
        let mut silent: Vec<bool> = self.asked.iter().map(|one| one.line.is_none()).collect();
        while !answers.is_empty() {
            let have = self.asked.iter().filter(|one| one.line.is_some()).count();
            let patience = if have >= self.needed { GRACE } else { PATIENCE };
            match tokio::time::timeout(patience, answers.join_next()).await {
                Ok(Some(Ok((number, knows, answer)))) => {
                    silent[number] = false;
                    self.asked[number].knows = knows;
                    self.take(number, note, answer).await;
                }
                // A task of ours that ended in the middle is as good as silent.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let late = (0..silent.len()).filter(|&number| silent[number]);
        for number in late.collect::<Vec<_>>() {
            if self.asked[number].pause.left_ms(now) == 0 {
                self.fail(number, &Trouble::Silent("too slow, or a task ended".into()));
            }
        }
    }

    async fn take(&mut self, number: usize, note: &Arc<str>, answer: Result<String, Trouble>) {
        match answer {
            Ok(line) => {
                let one = &mut self.asked[number];
                (one.line, one.pause) = (Some(line), Pause::default());
            }
            Err(trouble) => return self.fail(number, &trouble),
        }
        let lines: String = self.asked.iter().filter_map(|one| one.line.as_deref()).collect();
        let witnesses: Vec<WitnessAt> = self.asked.iter().map(|one| one.at.clone()).collect();
        let found = Cosigned::of(format!("{note}{lines}").into(), &witnesses);
        if !found.is_better_than(&self.tell.borrow(), self.needed) {
            return;
        }
        let (tiles, kept) = (self.tiles.clone(), found.note.clone());
        match tokio::task::spawn_blocking(move || tiles.keep_cosigned(kept)).await {
            Ok(Ok(())) => {
                self.tell.send_replace(found);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "无法保存见证签名 a cosigned checkpoint cannot be kept")
            }
            Err(error) => tracing::error!(%error, "无法保存见证签名 a cosigned checkpoint was not kept"),
        }
    }

    fn fail(&mut self, number: usize, trouble: &Trouble) {
        let one = &mut self.asked[number];
        one.pause = one.pause.after_failure(now_ms());
        let (witness, retry_ms) = (&one.at.key.name, one.pause.left_ms(now_ms()));
        match trouble {
            Trouble::Fork(_) | Trouble::Refused(_) => {
                tracing::error!(witness, retry_ms, "见证人不签名 a witness does not cosign: {trouble}");
            }
            Trouble::Silent(_) => tracing::warn!(witness, retry_ms, "见证人 witness: {trouble}"),
        }
    }
}

impl<S: Storage> Tiles<S> {
    /// Keeps a cosigned checkpoint, and shows it when it is durable.
    fn keep_cosigned(&self, note: Arc<str>) -> Result<(), TlogError> {
        put(self.storage(), COSIGNED, note.as_bytes())?;
        self.storage().sync_folder("")?;
        self.change().cosigned = Some(note);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_witnesses_count_before_more_leaves() {
        let cosigned = |size, count| Cosigned { size, count, note: "".into() };
        for (new, old, expected) in [
            ((5, 1), (0, 0), true),
            ((5, 0), (0, 0), false),
            ((6, 1), (5, 1), true),
            ((6, 1), (5, 2), false),
            ((6, 2), (5, 2), true),
            ((5, 3), (5, 2), true),
            ((4, 3), (5, 2), false),
            ((5, 2), (5, 2), false),
        ] {
            let found = cosigned(new.0, new.1).is_better_than(&cosigned(old.0, old.1), 2);
            assert_eq!(found, expected, "{new:?} after {old:?}");
        }
    }

    #[test]
    fn who_fails_has_peace_longer_and_longer() {
        let mut pause = Pause::default();
        assert_eq!(pause.left_ms(0), 0);
        for expected_ms in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            pause = pause.after_failure(500);
            assert_eq!(pause.left_ms(500), expected_ms);
        }
        assert_eq!(pause.left_ms(60_500), 0);
        assert_eq!(pause.left_ms(-1_000_000), LONGEST_PAUSE_MS, "a clock set back");
    }
}
