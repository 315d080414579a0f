//! The few things the log asks of a disk, so that a test can be a nasty disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files by their names, which may lie in folders: `tile/0/x001/000`.
pub trait Storage: Send + Sync + 'static {
    /// Keeps others out while it lives.
    type Lock: Send + 'static;

    /// Makes sure that nobody else writes here: two who append to one log would sign two histories.
    ///
    /// # Errors
    /// Somebody does, or as the system says.
    fn lock(&self) -> io::Result<Self::Lock>;

    /// All of a file; `None` when it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes at an offset of a file. With offset 0 of a file that is not there, makes it.
    ///
    /// # Errors
    /// As the system says; what is on disk is then unknown.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Empties a file, if it is there.
    ///
    /// # Errors
    /// As the system says.
    fn clear(&self, name: &str) -> io::Result<()>;

    /// Returns when what was written into a file is on stable storage. Its name may not be.
    ///
    /// # Errors
    /// As the system says; what is on disk is then unknown.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name of the same folder, at once and in the stead of the file that had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a folder and those above it. Their names last when the folders above are synced.
    ///
    /// # Errors
    /// As the system says.
    fn make_folder(&self, name: &str) -> io::Result<()>;

    /// Returns when the names of a folder are on stable storage; `""` is the log's own.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, name: &str) -> io::Result<()>;
}

/// The folder part of a name.
pub(super) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Puts a whole file in its place. Its bytes are on stable storage then, its name is when the folder is synced.
///
/// # Errors
/// As the system says; the file is then as it was.
pub(crate) fn put<S: Storage>(storage: &S, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{name}.new");
    storage.clear(&aside)?;
    storage.write(&aside, 0, bytes)?;
    storage.sync(&aside)?;
    storage.rename(&aside, name)
}

/// A folder of this machine.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        crate::log::make_folder(path)?;
        Ok(Self { path: path.to_owned() })
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Storage for Folder {
    type Lock = File;

    fn lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join("lock"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                let what =
                    format!("{} is in use by another process: only one may write there", self.path.display());
                io::Error::new(io::ErrorKind::WouldBlock, what)
            }
        })?;
        Ok(file)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if_there(fs::read(self.path.join(name)))
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(offset == 0);
        options.open(self.path.join(name))?.write_all_at(bytes, offset)
    }

    fn clear(&self, name: &str) -> io::Result<()> {
        if_there(OpenOptions::new().write(true).truncate(true).open(self.path.join(name))).map(|_| ())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.path.join(name))
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        crate::log::sync_folder(&self.path.join(name))
    }
}
