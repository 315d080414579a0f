//! The few things the log asks of a disk, so that a test can be a nasty disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// A folder of segments.
pub trait Storage: Send + 'static {
    /// An open segment.
    type File: SegmentFile;

    /// Positions of all segments, ascending.
    ///
    /// # Errors
    /// As the system says.
    fn list(&mut self) -> io::Result<Vec<u64>>;

    /// Makes the segment at `base`: `length` bytes, `header` and then zeros, durable under its name.
    ///
    /// # Errors
    /// As the system says.
    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<Self::File>;

    /// Opens the segment at `base`.
    ///
    /// # Errors
    /// As the system says.
    fn open(&mut self, base: u64) -> io::Result<Self::File>;

    /// Deletes the segment at `base`.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&mut self, base: u64) -> io::Result<()>;
}

/// An open segment.
pub trait SegmentFile: Send + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Reads `length` bytes from `offset`, fewer at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system says; what is on disk is then unknown.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written is on stable storage.
    ///
    /// # Errors
    /// As the system says; what is on disk is then unknown.
    fn sync(&mut self) -> io::Result<()>;
}

/// Name of the segment that is being made ready.
const SPARE: &str = "spare.new";
/// Zeros are written in pieces of this many bytes.
const PIECE: usize = 1 << 20;

/// Segments as files of a folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Makes the next segment's file in the background; at most one.
    spare: Option<JoinHandle<io::Result<u64>>>,
}

impl Folder {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        // Left by a run that ended while it was being written.
        match fs::remove_file(path.join(SPARE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { path: path.to_owned(), spare: None })
    }

    fn file(&self, base: u64) -> PathBuf {
        self.path.join(format!("{base:020}.wfl"))
    }
}

/// Makes a folder and makes it last.
///
/// # Errors
/// As the system says.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
    }
    Ok(())
}

/// Makes names made, changed or removed in a folder last.
///
/// # Errors
/// As the system says.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn make_spare(path: &Path, length: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let zeros = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let piece = (length - at).min(PIECE as u64) as usize;
        file.write_all_at(&zeros[..piece], at)?;
        at += piece as u64;
    }
    file.sync_all()?;
    Ok(length)
}

impl Storage for Folder {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<u64>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(".wfl"));
            bases.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<File> {
        let spare = self.path.join(SPARE);
        // A spare that failed for want of room is tried once more: there may be some now.
        let made = self.spare.take().map(JoinHandle::join);
        let ready = matches!(made, Some(Ok(Ok(made))) if made == length);
        if !ready {
            make_spare(&spare, length)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&spare)?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        fs::rename(&spare, self.file(base))?;
        sync_folder(&self.path)?;
        self.spare = Some(std::thread::spawn(move || make_spare(&spare, length)));
        Ok(file)
    }

    fn open(&mut self, base: u64) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.file(base))
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        fs::remove_file(self.file(base))?;
        sync_folder(&self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next start would remove a file that this thread still writes.
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
        }
    }
}

impl SegmentFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            match self.read_at(&mut bytes[have..], offset + have as u64) {
                Ok(0) => break,
                Ok(more) => have += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(have);
        Ok(bytes)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
