//! A nasty disk: it forgets what was not synced, tears what was being written, and dies at any step.
//!
//! A first run counts the steps; then one run for each step dies there, once as a killed process and some times as a power
//! cut, and what survives is opened again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use seal::keys::MemoryKey;
use seal::note::Note;
use seal::tree::is_consistent;

use super::storage::folder_of;
use super::*;

const SECTOR: usize = 512;
const ORIGIN: &str = "log.example";
/// As small as the leaves are here.
const JOURNAL_OF_TESTS: usize = 64 << 10;

/// Bytes of a file: shared by its names, as an inode is.
#[derive(Debug, Clone, Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Lengths and writes that a power cut may keep, tear or forget.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// What happened to the names of a folder since it was synced: name, and the image it stands for.
type Changes = Vec<Vec<(String, Option<usize>)>>;

#[derive(Debug, Default)]
struct Disk {
    images: Vec<Image>,
    /// Names as the running system sees them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of each folder in their order; a power cut keeps the first ones.
    unsynced: BTreeMap<String, Changes>,
    steps: usize,
    dies_at: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Disk>>);

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.dies_at {
            Some(at) if self.steps >= at => Err(io::Error::other("power cut")),
            _ => Ok(()),
        }
    }

    fn image(&mut self, name: &str) -> io::Result<&mut Image> {
        let number = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.images[number])
    }

    fn rename_all(&mut self, folder: &str, changes: Vec<(String, Option<usize>)>) {
        for (name, image) in &changes {
            match image {
                Some(image) => self.names.insert(name.clone(), *image),
                None => self.names.remove(name),
            };
        }
        self.unsynced.entry(folder.into()).or_default().push(changes);
    }
}

impl Shared {
    fn dies_at(&self, step: Option<usize>) {
        let mut disk = self.0.lock().unwrap();
        (disk.steps, disk.dies_at) = (0, step);
    }

    /// What is found when the process was killed: all that it did.
    fn after_kill(&self) -> Self {
        let disk = self.0.lock().unwrap();
        let (images, names) = (disk.images.clone(), disk.names.clone());
        let (durable_names, unsynced) = (disk.durable_names.clone(), disk.unsynced.clone());
        Self(Arc::new(Mutex::new(Disk { images, names, durable_names, unsynced, ..Disk::default() })))
    }

    /// What is found after a power cut. `keep` of 100 unsynced sectors made it to the disk; of names the first few.
    fn after_power_cut(&self, rng: &mut fastrand::Rng, keep: u32) -> Self {
        let disk = self.0.lock().unwrap();
        let mut names = disk.durable_names.clone();
        for changes in disk.unsynced.values() {
            let kept = changes.len() * keep as usize / 100;
            for (name, image) in changes[..kept].iter().flatten() {
                match image {
                    Some(image) => names.insert(name.clone(), *image),
                    None => names.remove(name),
                };
            }
        }
        // What lies in a folder that is gone is gone.
        let all = names.clone();
        names.retain(|name, _| {
            let above = std::iter::successors(Some(folder_of(name)), |folder| Some(folder_of(folder)));
            above.take_while(|folder| !folder.is_empty()).all(|folder| all.contains_key(folder))
        });
        let mut images = Vec::new();
        for image in &disk.images {
            let mut bytes = image.durable.clone();
            for (offset, written) in &image.unsynced {
                for (index, sector) in written.chunks(SECTOR).enumerate() {
                    if rng.u32(0..100) < keep {
                        let at = offset + index * SECTOR;
                        bytes.resize(bytes.len().max(at + sector.len()), 0);
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            images.push(Image { live: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(Disk { images, names, durable_names, ..Disk::default() })))
    }
}

impl Storage for Shared {
    type Lock = ();

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let disk = self.0.lock().unwrap();
        Ok(disk.names.get(name).map(|&image| disk.images[image].live.clone()))
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let alive = disk.step();
        if offset == 0 && !disk.names.contains_key(name) {
            disk.images.push(Image::default());
            let image = disk.images.len() - 1;
            disk.rename_all(folder_of(name), vec![(name.into(), Some(image))]);
        }
        // Also a write that the cut interrupted may have reached the disk in parts.
        let image = disk.image(name)?;
        let at = offset as usize;
        image.live.resize(image.live.len().max(at + bytes.len()), 0);
        image.live[at..at + bytes.len()].copy_from_slice(bytes);
        image.unsynced.push((at, bytes.to_vec()));
        alive
    }

    fn clear(&self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        if let Ok(image) = disk.image(name) {
            *image = Image::default();
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        let image = disk.image(name)?;
        image.durable = image.live.clone();
        image.unsynced.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        assert_eq!(folder_of(from), folder_of(to));
        let image = *disk.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.rename_all(folder_of(to), vec![(from.into(), None), (to.into(), Some(image))]);
        Ok(())
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        let mut folder = name;
        while !folder.is_empty() {
            // A folder is a name without content, which must last for what is in it to last.
            if !disk.names.contains_key(folder) {
                disk.images.push(Image::default());
                let image = disk.images.len() - 1;
                disk.rename_all(folder_of(folder), vec![(folder.into(), Some(image))]);
            }
            folder = folder_of(folder);
        }
        Ok(())
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        for (name, image) in disk.unsynced.remove(name).into_iter().flatten().flatten() {
            match image {
                Some(image) => disk.durable_names.insert(name, image),
                None => disk.durable_names.remove(&name),
            };
        }
        Ok(())
    }
}

fn open(disk: &Shared) -> Result<Tlog<Shared>, TlogError> {
    Tlog::open_with(disk.clone(), ORIGIN, Box::new(MemoryKey::from_secret(&[1; 32])), JOURNAL_OF_TESTS)
}

/// Leaf `number`.
fn leaf(number: u64) -> Vec<u8> {
    let mut leaf = number.to_le_bytes().to_vec();
    leaf.resize(61 - (number % 7) as usize, number as u8);
    leaf
}

fn checkpoint(note: &str) -> Checkpoint {
    Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text).unwrap()
}

/// Appends groups until the disk dies, and notes every checkpoint that somebody could see.
fn append_groups(log: &mut Tlog<Shared>, groups: &[u64], shown: &mut Vec<Checkpoint>) {
    for &count in groups {
        let from = log.tiles().size();
        let leaves: Vec<Vec<u8>> = (from..from + count).map(leaf).collect();
        let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        match log.append(&leaves) {
            Ok(first) => assert_eq!(first, from),
            Err(_) => return,
        }
        shown.push(checkpoint(&log.tiles().newest()));
    }
}

/// The log only adds to everything ever shown, has one root for one size, and holds what it says.
fn check(log: &Tlog<Shared>, shown: &[Checkpoint], what: &str) {
    let tiles = log.tiles();
    let newest = checkpoint(&tiles.newest());
    assert_eq!(newest.size, tiles.size(), "{what}");
    for old in shown {
        assert!(old.size <= newest.size, "{what}: {} leaves were shown, {} are left", old.size, newest.size);
        let proof = tiles.consistency(old.size, newest.size).unwrap();
        assert!(
            is_consistent((old.size, &old.root), (newest.size, &newest.root), &proof),
            "{what}: another history"
        );
    }
    // Leaves on both sides of every seam.
    for index in
        (0..newest.size).filter(|index| matches!(index % WIDTH, 0 | 1 | 255) || index + 2 > newest.size)
    {
        assert_eq!(tiles.leaf(index).unwrap(), leaf(index), "{what}: leaf {index}");
        let path = tiles.inclusion(index, newest.size).unwrap();
        let root = tree::root_of_inclusion(tree::leaf(&leaf(index)), index, newest.size, &path);
        assert_eq!(root, Some(newest.root), "{what}: leaf {index}");
    }
}

/// A full journal, and then two commits: the first of them settles. It has 1100 leaves, four full tiles and some more.
const BEFORE: [u64; 2] = [1000, 100];
const GROUPS: [u64; 3] = [1, 3, 200];

fn grown() -> (Shared, Vec<Checkpoint>) {
    let disk = Shared::default();
    let mut shown = Vec::new();
    append_groups(&mut open(&disk).unwrap(), &BEFORE, &mut shown);
    (disk, shown)
}

#[test]
fn a_cut_at_any_step_leaves_a_log_that_only_adds_to_what_was_shown() {
    let (start, seen) = grown();
    let run = |dies_at: Option<usize>| {
        let (disk, mut shown) = (start.after_kill(), seen.clone());
        disk.dies_at(dies_at);
        if let Ok(mut log) = open(&disk) {
            append_groups(&mut log, &GROUPS, &mut shown);
        }
        (disk, shown)
    };
    let (disk, shown) = run(None);
    let steps = disk.0.lock().unwrap().steps;
    assert!(shown.len() == 5 && steps > 40, "{steps} steps: tiles were written on the way");
    let mut cut_short = 0;
    for dies_at in 1..=steps {
        let (disk, shown) = run(Some(dies_at));
        for (seed, keep) in [(0, 0), (1, 50), (2, 90), (3, 100)] {
            let what = format!("step {dies_at}, {keep} % kept");
            let mut rng = fastrand::Rng::with_seed(seed ^ (dies_at as u64) << 8);
            let mut survivor = disk.after_power_cut(&mut rng, keep);
            // On every other step the next start is cut short too; on every third the process is killed first.
            if dies_at % 2 == 0 {
                survivor.dies_at(Some(1 + dies_at % 20));
                let _ = open(&survivor);
                survivor = survivor.after_power_cut(&mut rng, keep);
            }
            let mut log = open(&survivor).unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&log, &shown, &what);
            cut_short += usize::from(log.tiles().size() == shown.last().unwrap().size);
            let mut shown = shown.clone();
            append_groups(&mut log, &[2], &mut shown);
            check(&log, &shown, &what);
        }
        // A killed process leaves things in the system's memory; what the next one shows must outlast a power cut all the
        // same, whether it appends before or not.
        for more in [&[][..], &[2]] {
            let (killed, mut shown) = (disk.after_kill(), shown.clone());
            let mut log = open(&killed).unwrap();
            check(&log, &shown, "killed");
            shown.push(checkpoint(&log.tiles().newest()));
            append_groups(&mut log, more, &mut shown);
            drop(log);
            let survivor = killed.after_power_cut(&mut fastrand::Rng::with_seed(9), 0);
            let log = open(&survivor).unwrap_or_else(|error| panic!("step {dies_at}: {error}"));
            check(&log, &shown, &format!("step {dies_at}, killed, then cut"));
        }
    }
    assert!(cut_short > 20, "only {cut_short} commits were cut short: the disk is not nasty enough");
}

#[test]
fn a_first_start_that_is_cut_short_is_a_first_start_again() {
    for dies_at in 1..=6 {
        let disk = Shared::default();
        disk.dies_at(Some(dies_at));
        let died = open(&disk).is_err();
        let survivor = disk.after_power_cut(&mut fastrand::Rng::with_seed(1), 50);
        let mut log = open(&survivor).unwrap_or_else(|error| panic!("step {dies_at}: {error}"));
        assert!(died || dies_at > 5);
        let mut shown = Vec::new();
        append_groups(&mut log, &[3], &mut shown);
        check(&log, &shown, "begun again");
    }
}

#[test]
fn what_fails_for_want_of_a_disk_is_not_logged() {
    let (disk, mut shown) = grown();
    let mut log = open(&disk).unwrap();
    let cut_in = |steps| disk.dies_at(Some(steps));
    // The journal is full: tiles cannot be written, so nothing is appended, and nothing is lost.
    cut_in(3);
    append_groups(&mut log, &[1], &mut shown);
    assert_eq!(shown.len(), 2);
    disk.dies_at(None);
    append_groups(&mut log, &[1], &mut shown);
    assert_eq!(shown.len(), 3, "it goes on by itself");
    check(&log, &shown, "after a full disk");
    // A commit that failed in the middle: unknown until it is opened again.
    cut_in(2);
    append_groups(&mut log, &[1], &mut shown);
    disk.dies_at(None);
    assert!(matches!(log.append(&[b"x"]), Err(TlogError::Poisoned(_))));
    check(&open(&disk.after_kill()).unwrap(), &shown, "opened again");
}

/// What happens to the bytes of a file.
type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_damaged_log_is_not_opened() {
    let (disk, mut shown) = grown();
    append_groups(&mut open(&disk).unwrap(), &GROUPS, &mut shown);
    let spoilt = |name: &str, spoil: Spoil<'_>| {
        let copy = disk.after_kill();
        spoil(&mut copy.0.lock().unwrap().image(name).unwrap().live);
        open(&copy).map(|log| log.tiles().size())
    };
    assert_eq!(spoilt(JOURNAL, &|_| {}).unwrap(), 1304);
    let damages: [(&str, Spoil<'_>); 6] = [
        (JOURNAL, &|bytes| bytes[100] ^= 1),
        (JOURNAL, &|bytes| bytes.clear()),
        ("tile/0/000", &|bytes| bytes[77] ^= 1),
        ("tile/0/003", &|bytes| bytes.truncate(8000)),
        ("tile/0/001", &|bytes| bytes.clear()),
        ("tile/0/002", &|bytes| bytes[8191] ^= 0x80),
    ];
    for (name, spoil) in damages {
        assert!(matches!(spoilt(name, spoil), Err(TlogError::Damaged(_))), "{name}");
    }
    let copy = disk.after_kill();
    copy.0.lock().unwrap().names.remove(JOURNAL);
    assert!(matches!(open(&copy), Err(TlogError::Damaged(_))), "no journal beside tiles");
    // A leaf in a bundle is found by whoever reads it, as its hash is in the tree.
    let tile = Tile { kind: Kind::Leaves, index: 0, width: 3 };
    disk.0.lock().unwrap().image("tile/entries/000").unwrap().live.truncate(5000);
    let log = open(&disk).unwrap();
    assert!(matches!(log.tiles().tile(tile), Err(TlogError::Damaged(_))));
    assert!(matches!(log.tiles().leaf(200), Err(TlogError::Damaged(_))));
}

#[test]
fn a_log_that_was_set_back_behind_its_witnesses_is_not_opened() {
    let (disk, mut shown) = grown();
    let mut log = open(&disk).unwrap();
    let old = disk.after_kill();
    append_groups(&mut log, &[1], &mut shown);
    let note = log.tiles().newest();
    for (copy, expected) in [(disk.after_kill(), true), (old, false)] {
        put(&copy, COSIGNED, note.as_bytes()).unwrap();
        assert_eq!(open(&copy).is_ok(), expected);
    }
}

#[test]
fn a_log_is_opened_with_its_own_key_and_name() {
    let (disk, _) = grown();
    let with =
        |origin, secret| Tlog::open(disk.clone(), origin, Box::new(MemoryKey::from_secret(&[secret; 32])));
    assert!(with(ORIGIN, 1).is_ok());
    for (origin, secret) in [(ORIGIN, 2), ("other.example", 1)] {
        assert!(matches!(with(origin, secret), Err(TlogError::Other { .. })), "{origin} {secret}");
    }
}

#[test]
fn bounds_are_kept() {
    let (disk, _) = grown();
    let mut log = open(&disk).unwrap();
    let size = log.tiles().size();
    let large = vec![0; MAX_LEAF + 1];
    assert!(matches!(log.append(&[b"a", &large]), Err(TlogError::Leaf(4097))));
    assert!(matches!(log.append(&[b"a".as_slice(); MAX_GROUP + 1]), Err(TlogError::Group(1025))));
    assert_eq!(log.append(&[]).unwrap(), size);
    assert_eq!(log.append(&[b""]).unwrap(), size, "an empty leaf is one");
    let tiles = log.tiles();
    assert!(matches!(tiles.leaf(size + 1), Err(TlogError::NotThere { .. })));
    assert!(matches!(tiles.inclusion(size, size), Err(TlogError::NotThere { .. })));
    assert!(matches!(tiles.consistency(0, size + 2), Err(TlogError::NotThere { .. })));
    assert!(matches!(tiles.consistency(size + 1, size), Err(TlogError::NotThere { .. })));
}

#[test]
fn a_part_of_a_tile_is_its_beginning_on_disk_as_in_memory() {
    let (disk, mut shown) = grown();
    let mut log = open(&disk).unwrap();
    let parts = |log: &Tlog<Shared>| {
        let tiles = log.tiles();
        [
            (Kind::Leaves, 3),
            (Kind::Hashes(0), 3),
            (Kind::Leaves, 4),
            (Kind::Hashes(0), 4),
            (Kind::Hashes(1), 0),
        ]
        .map(|(kind, index)| [1, 4, 76, 256].map(|width| tiles.tile(Tile { kind, index, width }).unwrap()))
    };
    let before = parts(&log);
    append_groups(&mut log, &[1], &mut shown);
    assert!(log.tiles().storage().read("tile/0/003").unwrap().is_some(), "it is settled now");
    assert_eq!(parts(&log), before);
    let there = before.map(|widths| widths.map(|tile| tile.is_some()));
    assert_eq!(there[0], [true; 4]);
    assert_eq!(there[3], [true, true, true, false]);
    assert_eq!(there[4], [true, true, false, false], "four tiles are full");
}
