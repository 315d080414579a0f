//! A nasty disk: it forgets what was not synced, tears what was being written, and dies at any step.
//!
//! A first run counts the steps; then one run for each step dies there, and what survives is opened again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::{Appended, Entry, Log, LogConfig, Opened, Record, SegmentFile, Storage};

const SECTOR: usize = 512;
const CONFIG: LogConfig = LogConfig { segment_bytes: 16 * 1024, keep_ms: 1000, keep_bytes: 1 << 30 };

#[derive(Clone, Default)]
struct Image {
    /// What the running system sees.
    live: Vec<u8>,
    /// What is on stable storage for sure.
    durable: Vec<u8>,
    /// Writes that a power cut may keep, tear or forget.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Image>,
    steps: usize,
    dies_at: Option<usize>,
    is_full: bool,
}

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.dies_at {
            Some(at) if self.steps >= at => Err(io::Error::other("power cut")),
            _ => Ok(()),
        }
    }

    /// What is found after a power cut. `keep` of 100 unsynced sectors made it to the disk.
    fn after_power_cut(&self, rng: &mut fastrand::Rng, keep: u32) -> Shared {
        let mut files = BTreeMap::new();
        for (&base, image) in &self.files {
            let mut bytes = image.durable.clone();
            for (offset, written) in &image.unsynced {
                for (index, sector) in written.chunks(SECTOR).enumerate() {
                    if rng.u32(0..100) < keep {
                        let at = offset + index * SECTOR;
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            files.insert(base, Image { live: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
        Shared(Arc::new(Mutex::new(Disk { files, ..Disk::default() })))
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Disk>>);

struct File(Shared, u64);

impl Storage for Shared {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().unwrap().files.keys().copied().collect())
    }

    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<File> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        if disk.is_full {
            return Err(io::Error::other("no space left"));
        }
        let mut bytes = vec![0; length as usize];
        bytes[..header.len()].copy_from_slice(header);
        let image = Image { live: bytes.clone(), durable: bytes, unsynced: Vec::new() };
        assert!(disk.files.insert(base, image).is_none(), "segment {base} was there");
        Ok(File(self.clone(), base))
    }

    fn open(&mut self, base: u64) -> io::Result<File> {
        Ok(File(self.clone(), base))
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        disk.files.remove(&base);
        Ok(())
    }
}

impl SegmentFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().files[&self.1].live.len() as u64)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let disk = self.0.0.lock().unwrap();
        let bytes = &disk.files[&self.1].live;
        let start = (offset as usize).min(bytes.len());
        Ok(bytes[start..(start + length).min(bytes.len())].to_vec())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.0.lock().unwrap();
        let alive = disk.step();
        // Also a write that the cut interrupted may have reached the disk in parts.
        let image = disk.files.get_mut(&self.1).unwrap();
        let at = offset as usize;
        image.live[at..at + bytes.len()].copy_from_slice(bytes);
        image.unsynced.push((at, bytes.to_vec()));
        alive
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.0.lock().unwrap();
        disk.step()?;
        let image = disk.files.get_mut(&self.1).unwrap();
        image.durable = image.live.clone();
        image.unsynced.clear();
        Ok(())
    }
}

fn open(disk: &Shared, from: u64) -> Result<(Log<Shared>, Opened, Vec<Record>), String> {
    let mut records = Vec::new();
    let opened = Log::open(disk.clone(), CONFIG, from, 0, |record| {
        records.push(record);
        Ok::<_, std::convert::Infallible>(())
    });
    opened.map(|(log, opened)| (log, opened, records)).map_err(|error| error.to_string())
}

/// Appends groups of numbered records until the disk dies; the numbers that were acknowledged, and how many were tried.
fn append_groups(
    log: &mut Log<Shared>,
    rng: &mut fastrand::Rng,
    first: u64,
    groups: usize,
) -> (Vec<u64>, u64) {
    let (mut acknowledged, mut next) = (Vec::new(), first);
    for _ in 0..groups {
        let bodies: Vec<(u64, Vec<u8>)> = (0..rng.u64(1..6))
            .map(|index| {
                let mut body = (next + index).to_le_bytes().to_vec();
                body.resize(8 + rng.usize(0..3000), rng.u8(..));
                (next + index, body)
            })
            .collect();
        next += bodies.len() as u64;
        let entries: Vec<Entry<'_>> = bodies
            .iter()
            .map(|(_, body)| Entry { received_ms: 5, kind: 1, source: "gw", payload: body })
            .collect();
        let Appended { ends, failed } = log.append(&entries);
        acknowledged.extend(bodies.iter().take(ends.len()).map(|body| body.0));
        if failed.is_some() {
            break;
        }
        assert_eq!((ends.len(), ends.last()), (entries.len(), Some(&log.position())));
    }
    (acknowledged, next)
}

fn numbers(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| u64::from_le_bytes(record.payload[..8].try_into().unwrap())).collect()
}

/// Everything acknowledged is there, in order; nothing is there twice; nothing is there that was never sent.
fn check(found: &[u64], acknowledged: &[u64], tried: u64, what: &str) {
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{what}: order or doubles in {found:?}");
    assert!(found.iter().all(|&number| number < tried), "{what}: a record out of nowhere");
    for number in acknowledged {
        assert!(found.binary_search(number).is_ok(), "{what}: {number} was acknowledged and is gone");
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    const GROUPS: usize = 24;
    let run = |dies_at: Option<usize>, seed: u64| {
        let disk = Shared::default();
        disk.0.lock().unwrap().dies_at = dies_at;
        let outcome = match open(&disk, 0) {
            Ok((mut log, ..)) => append_groups(&mut log, &mut fastrand::Rng::with_seed(seed), 0, GROUPS),
            Err(_) => (Vec::new(), 0),
        };
        (disk, outcome)
    };
    let steps = run(None, 1).0.0.lock().unwrap().steps;
    assert!(steps > 2 * GROUPS, "segments were changed on the way");
    let mut torn = 0;
    for dies_at in 1..=steps {
        for (seed, keep) in [(1, 0), (1, 50), (1, 90), (1, 100), (2, 50)] {
            let what = format!("seed {seed}, step {dies_at}, {keep} % kept");
            let (disk, (acknowledged, tried)) = run(Some(dies_at), seed);
            let mut rng = fastrand::Rng::with_seed(seed ^ (dies_at as u64) << 8 ^ u64::from(keep));
            let mut survivor = disk.0.lock().unwrap().after_power_cut(&mut rng, keep);
            // On every other step the next start is cut short too, while it clears the torn tail.
            for second in (1..4).take_while(|_| dies_at % 2 == 0) {
                survivor.0.lock().unwrap().dies_at = Some(second);
                let _ = open(&survivor, 0);
                let next = survivor.0.lock().unwrap().after_power_cut(&mut rng, keep);
                survivor = next;
            }
            let (mut log, opened, records) = open(&survivor, 0).unwrap();
            torn += usize::from(opened.cut_bytes > 0);
            assert_eq!(opened.damaged, [], "{what}: a torn tail is not damage");
            let found = numbers(&records);
            check(&found, &acknowledged, tried, &what);
            // And it goes on from there: what survived stays, what is new follows.
            let (more, tried) = append_groups(&mut log, &mut rng, tried, 6);
            drop(log);
            let (_, opened, records) = open(&survivor, 0).unwrap();
            assert_eq!((opened.cut_bytes, opened.damaged), (0, Vec::new()), "{what}");
            let expected: Vec<u64> = found.into_iter().chain(more).collect();
            assert_eq!(numbers(&records), expected, "{what}");
            assert!(tried > 0);
        }
    }
    assert!(torn > 10, "only {torn} tails were torn: the disk is not nasty enough");
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    let body = vec![7; 2000];
    let entry = Entry { received_ms: 1, kind: 1, source: "a", payload: &body };
    assert!(log.append(&[entry]).failed.is_none());
    let end = log.position();
    // Die in the sync of a group of three; only its last record reached the disk whole.
    let steps = disk.0.lock().unwrap().steps;
    disk.0.lock().unwrap().dies_at = Some(steps + 2);
    assert!(log.append(&[entry, entry, entry]).failed.is_some());
    let mut guard = disk.0.lock().unwrap();
    guard.dies_at = None;
    let image = guard.files.get_mut(&0).unwrap();
    image.live[end as usize + 100] ^= 1;
    drop(guard);
    let (log, opened, records) = open(&disk, 0).unwrap();
    assert_eq!(records.len(), 1);
    assert!(opened.cut_bytes > 4000, "{opened:?}");
    assert_eq!(opened.damaged, []);
    assert_eq!(log.position(), end);
}

#[test]
fn damage_is_reported_and_what_follows_is_still_read() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    let (acknowledged, _) = append_groups(&mut log, &mut fastrand::Rng::with_seed(3), 0, 20);
    drop(log);
    let (_, _, records) = open(&disk, 0).unwrap();
    assert!(disk.0.lock().unwrap().files.len() > 2, "several segments");
    for victim in [0, 3, records.len() / 2] {
        let (position, end) = (records[victim].position, records[victim].end);
        let backup = disk.0.lock().unwrap().files.clone();
        {
            let mut guard = disk.0.lock().unwrap();
            let (&base, image) = guard.files.range_mut(..=position).next_back().unwrap();
            image.live[(position - base) as usize + 30] ^= 0x40;
        }
        let (_, opened, found) = open(&disk, 0).unwrap();
        // What follows in the same group commit cannot be told from a torn tail when it is the last; here it never is.
        assert_eq!(opened.damaged.len(), 1, "victim {victim}: {opened:?}");
        assert!(opened.damaged[0].start == position && opened.damaged[0].end >= end);
        assert_eq!(opened.cut_bytes, 0);
        let found = numbers(&found);
        assert!(!found.contains(&acknowledged[victim]));
        assert_eq!(found.last(), acknowledged.last(), "later groups are still read");
        disk.0.lock().unwrap().files = backup;
    }
}

/// A list of one range.
fn one(from: u64, to: u64) -> Vec<std::ops::Range<u64>> {
    std::iter::once(from..to).collect()
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    append_groups(&mut log, &mut fastrand::Rng::with_seed(4), 0, 30);
    drop(log);
    let bases: Vec<u64> = disk.0.lock().unwrap().files.keys().copied().collect();
    assert!(bases.len() >= 4);
    disk.0.lock().unwrap().files.remove(&bases[1]);
    let (_, opened, _) = open(&disk, 0).unwrap();
    assert_eq!(opened.damaged, one(bases[1], bases[2]));
    disk.0.lock().unwrap().files.remove(&bases[0]);
    let (_, opened, _) = open(&disk, 0).unwrap();
    assert_eq!(opened.damaged, one(0, bases[2]), "the checkpoint needs what is gone");
}

#[test]
fn reading_starts_at_the_checkpoint() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    append_groups(&mut log, &mut fastrand::Rng::with_seed(5), 0, 30);
    let end = log.position();
    drop(log);
    let (_, _, all) = open(&disk, 0).unwrap();
    for (index, record) in all.iter().enumerate() {
        let (_, opened, rest) = open(&disk, record.end).unwrap();
        assert_eq!(rest, all[index + 1..], "from {}", record.end);
        assert_eq!(opened.damaged, []);
    }
    // A log that was deleted goes on at the checkpoint's position, so that positions never repeat.
    let (log, opened, none) = open(&Shared::default(), end).unwrap();
    assert!(log.position() > end && none.is_empty() && opened.damaged.is_empty());
}

#[test]
fn old_segments_go_and_the_present_one_stays() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    append_groups(&mut log, &mut fastrand::Rng::with_seed(6), 0, 30);
    let before = disk.0.lock().unwrap().files.len();
    assert_eq!(log.retire(0, 1_000_000).unwrap(), 0, "nothing is in a checkpoint yet");
    assert_eq!(log.retire(log.position(), 6).unwrap(), 0, "young ones are kept");
    assert_eq!(log.retire(log.position(), 1_000_000).unwrap(), before - 1);
    let position = log.position();
    drop(log);
    let (log, opened, records) = open(&disk, position).unwrap();
    assert_eq!((log.position(), opened.damaged.len(), records.len()), (position, 0, 0));
}

#[test]
fn an_error_poisons_the_log() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    let entry = Entry { received_ms: 1, kind: 1, source: "a", payload: b"x" };
    assert!(log.append(&[entry]).failed.is_none());
    let steps = disk.0.lock().unwrap().steps;
    disk.0.lock().unwrap().dies_at = Some(steps + 1);
    assert!(log.append(&[entry]).failed.is_some());
    disk.0.lock().unwrap().dies_at = None;
    let again = log.append(&[entry]).failed.unwrap().to_string();
    assert!(again.contains("power cut") && again.contains("restart"), "{again}");
}

#[test]
fn a_full_disk_is_survived() {
    let disk = Shared::default();
    let (mut log, ..) = open(&disk, 0).unwrap();
    let body = vec![7; 3000];
    let entry = Entry { received_ms: 1, kind: 1, source: "a", payload: &body };
    disk.0.lock().unwrap().is_full = true;
    let Appended { ends, failed } = log.append(&[entry; 8]);
    assert_eq!(ends.len(), 5, "as many as the segment holds are durable");
    assert!(failed.is_some() && !log.is_poisoned());
    assert!(log.append(&[entry]).failed.is_some());
    disk.0.lock().unwrap().is_full = false;
    assert_eq!(log.append(&[entry; 3]).ends.len(), 3, "it goes on by itself");
    drop(log);
    let (_, opened, records) = open(&disk, 0).unwrap();
    assert_eq!((records.len(), opened.cut_bytes, opened.damaged.len()), (8, 0, 0));
}

mod with_its_thread {
    use std::sync::Arc;

    use tokio::sync::{mpsc, oneshot, watch};

    use super::super::{Append, Command, Folder, Log, LogThread, URGENT_QUEUE};
    use super::{CONFIG, Shared, open};
    use crate::counters::{Counters, Part};

    type Answer = oneshot::Receiver<Result<(), String>>;

    fn message(known: u32) -> (Append<u32>, Answer) {
        let (done, answer) = oneshot::channel();
        let payload = vec![1; 500];
        (Append { received_ms: 1, kind: 1, source: "g".into(), payload, known, done }, answer)
    }

    /// Queues one message; its answer.
    async fn ask(commands: &mpsc::Sender<Command<u32>>, known: u32) -> Answer {
        let (append, answer) = message(known);
        assert!(commands.send(Command::Append(append)).await.is_ok());
        answer
    }

    #[tokio::test]
    async fn after_an_error_nobody_is_told_durable() {
        let disk = Shared::default();
        let (log, ..) = open(&disk, 0).unwrap();
        let counters = Arc::new(Counters::default());
        let (_urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(8);
        let (sink, committed) = std::sync::mpsc::sync_channel(100);
        let thread = LogThread::start(
            log,
            pressing,
            queue,
            watch::channel(true).1,
            Arc::clone(&counters),
            move |group| {
                group.into_iter().for_each(|record| sink.send(record.known).unwrap());
            },
        )
        .unwrap();
        assert_eq!(ask(&commands, 1).await.await, Ok(Ok(())));
        assert_eq!(counters.trouble(Part::Log), None);
        let steps = disk.0.lock().unwrap().steps;
        disk.0.lock().unwrap().dies_at = Some(steps + 2);
        assert!(ask(&commands, 2).await.await.unwrap().is_err());
        disk.0.lock().unwrap().dies_at = None;
        assert!(
            ask(&commands, 3).await.await.unwrap().is_err(),
            "the disk is back, but what is on it is unknown"
        );
        assert!(counters.trouble(Part::Log).unwrap().contains("power cut"));
        assert!(commands.send(Command::Stop).await.is_ok());
        thread.join();
        assert_eq!(committed.iter().collect::<Vec<_>>(), [1], "what is not durable is not applied");
    }

    #[tokio::test]
    async fn everybody_is_answered_and_groups_share_a_sync() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Folder::open(folder.path()).unwrap();
        let (log, _) = Log::open(storage, CONFIG, 0, 0, |_| Ok::<_, ()>(())).unwrap();
        let counters = Arc::new(Counters::default());
        let (_urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(super::super::QUEUE);
        let (sink, committed) = std::sync::mpsc::sync_channel(1000);
        let thread = LogThread::start(
            log,
            pressing,
            queue,
            watch::channel(true).1,
            Arc::clone(&counters),
            move |group| {
                for record in group {
                    sink.send((record.end, record.known)).unwrap();
                }
            },
        )
        .unwrap();
        let mut waiting = Vec::new();
        for known in 0..300_u32 {
            waiting.push(ask(&commands, known).await);
        }
        for answer in waiting {
            assert_eq!(answer.await, Ok(Ok(())));
        }
        assert!(commands.send(Command::Stop).await.is_ok());
        thread.join();
        let order: Vec<(u64, u32)> = committed.iter().collect();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "log order");
        assert_eq!(order.len(), 300);
        assert!(counters.log().commits < 300, "{} commits", counters.log().commits);
        let mut found = 0;
        let storage = Folder::open(folder.path()).unwrap();
        let (_, opened) = Log::open(storage, CONFIG, 0, 0, |_| {
            found += 1;
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!((found, opened.records, opened.cut_bytes), (300, 300, 0));
    }
    #[tokio::test]
    async fn what_is_urgent_overtakes_what_waits_and_is_applied_alone() {
        let (log, ..) = open(&Shared::default(), 0).unwrap();
        let (urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(super::super::QUEUE);
        let mut answers = Vec::new();
        // All of them wait before the thread starts.
        for known in 0..10 {
            answers.push(ask(&commands, known).await);
        }
        for known in 100..102 {
            let (append, answer) = message(known);
            assert!(urgent.send(append).await.is_ok());
            answers.push(answer);
        }
        let (sink, committed) = std::sync::mpsc::sync_channel(100);
        let thread =
            LogThread::start(log, pressing, queue, watch::channel(true).1, Arc::default(), move |group| {
                sink.send(group.iter().map(|record| record.known).collect::<Vec<_>>()).unwrap();
            })
            .unwrap();
        for answer in answers {
            assert_eq!(answer.await, Ok(Ok(())));
        }
        assert!(commands.send(Command::Stop).await.is_ok());
        thread.join();
        let groups: Vec<Vec<u32>> = committed.iter().collect();
        assert_eq!(groups, [(100..102).collect::<Vec<_>>(), (0..10).collect()]);
    }

    #[tokio::test]
    async fn without_room_behind_it_only_what_is_urgent_is_taken() {
        let (log, ..) = open(&Shared::default(), 0).unwrap();
        let (urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(8);
        let (room, has_room) = watch::channel(false);
        let thread = LogThread::start(log, pressing, queue, has_room, Arc::default(), |_| {}).unwrap();
        assert!(ask(&commands, 1).await.await.unwrap().unwrap_err().contains("come again"));
        let (append, answer) = message(2);
        assert!(urgent.send(append).await.is_ok());
        assert_eq!(answer.await, Ok(Ok(())));
        room.send(true).unwrap();
        assert_eq!(ask(&commands, 3).await.await, Ok(Ok(())));
        assert!(commands.send(Command::Stop).await.is_ok());
        thread.join();
    }

    #[tokio::test]
    async fn what_waits_for_room_is_taken_once_there_is_some_and_holds_nothing_urgent_up() {
        let (log, ..) = open(&Shared::default(), 0).unwrap();
        let (urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(8);
        let (room, has_room) = watch::channel(false);
        // As in the product, what is committed goes on through a queue that may be full.
        let (sink, mut committed) = mpsc::channel(1);
        let thread = LogThread::start(log, pressing, queue, has_room, Arc::default(), move |group| {
            sink.blocking_send(group).unwrap();
        })
        .unwrap();
        let mut waiting = ask(&commands, 1).await;
        while commands.capacity() < commands.max_capacity() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let (append, answer) = message(2);
        assert!(urgent.send(append).await.is_ok());
        assert_eq!(answer.await, Ok(Ok(())));
        assert!(waiting.try_recv().is_err(), "it has no answer yet");
        room.send(true).unwrap();
        assert_eq!(committed.recv().await.map(|group| group.len()), Some(1));
        assert_eq!(waiting.await, Ok(Ok(())));
        assert!(commands.send(Command::Stop).await.is_ok());
        thread.join();
    }

    #[tokio::test]
    async fn what_is_urgent_is_finished_at_a_stop() {
        let (log, ..) = open(&Shared::default(), 0).unwrap();
        let (urgent, pressing) = mpsc::channel(URGENT_QUEUE);
        let (commands, queue) = mpsc::channel(8);
        assert!(commands.send(Command::Stop).await.is_ok());
        let (append, answer) = message(1);
        assert!(urgent.send(append).await.is_ok());
        let thread =
            LogThread::start(log, pressing, queue, watch::channel(true).1, Arc::default(), |_| {}).unwrap();
        thread.join();
        assert_eq!(answer.await, Ok(Ok(())));
        assert!(urgent.send(message(2).0).await.is_err(), "the log has ended");
    }
}
