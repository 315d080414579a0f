//! Photographs of the paper, before and after. They are passed on as the camera made them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest picture, in bytes: a sheet at 1080p is some hundred kB, and it travels over a village's uplink.
pub const MAX_PICTURE: usize = 2 << 20;
/// Shortest thing that can be a JPEG: start, one table of the least size, end. Anything below is a broken frame.
const MIN_PICTURE: usize = 16;

/// Which picture of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Before it opens: the paper that will be stamped.
    Before,
    /// After it closed: the impression.
    After,
}

/// A JPEG, at most [`MAX_PICTURE`] long, as the camera made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture(Vec<u8>);

impl Picture {
    /// Takes the bytes of one JPEG. That it begins and ends as one is all that is checked: what it shows, people look at.
    ///
    /// # Errors
    /// [`CameraError::TooLong`], [`CameraError::NotJpeg`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, CameraError> {
        let is_jpeg = bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9]);
        match bytes.len() {
            len if len > MAX_PICTURE => Err(CameraError::TooLong(len)),
            len if len < MIN_PICTURE || !is_jpeg => Err(CameraError::NotJpeg(len)),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} bytes)", self.0.len())
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// It cannot be reached.
    #[error("camera {camera}: {why}")]
    Unreachable {
        /// Its path.
        camera: PathBuf,
        /// What happened, and what to do.
        why: String,
    },
    /// It does not do what is asked of it.
    #[error("camera {camera} gives {given}, wanted {wanted}: choose a size and a camera that offers MJPEG")]
    Format {
        /// Its path.
        camera: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What the driver says it will do instead.
        given: String,
    },
    /// It gave no frame in time.
    #[error("camera {camera} gave no frame within {after_ms} ms: look at its cable")]
    Silent {
        /// Its path.
        camera: PathBuf,
        /// How long was waited.
        after_ms: u64,
    },
    /// It gave frames, and its driver says that none was whole.
    #[error("camera {camera}: none of {frames} frames was whole: give it a bus or a cable of its own")]
    Broken {
        /// Its path.
        camera: PathBuf,
        /// How many were looked at.
        frames: usize,
    },
    /// The picture is too long.
    #[error("a picture has at most {MAX_PICTURE} bytes, this one {0}: choose a smaller size")]
    TooLong(usize),
    /// It is none.
    #[error("{0} bytes are no JPEG: that begins with ff d8 ff and ends with ff d9")]
    NotJpeg(usize),
}

/// A camera that looks at the paper.
pub trait Camera: Send {
    /// Takes a picture. May block for some seconds: call it where nothing else waits.
    ///
    /// # Errors
    /// [`CameraError`]. A next try may succeed.
    fn picture(&mut self, moment: Moment) -> Result<Picture, CameraError>;
}

/// Pictures out of a file, or out of a folder (`*.jpg`, in the order of their names, then from the beginning again).
pub struct Album {
    path: PathBuf,
    taken: usize,
}

impl Album {
    /// The file or folder.
    pub fn new(path: PathBuf) -> Self {
        Self { path, taken: 0 }
    }

    /// Looked at anew each time, so that a test can change what lies on the table.
    fn next(&mut self) -> Result<Vec<u8>, io::Error> {
        if !fs::metadata(&self.path)?.is_dir() {
            return read(&self.path);
        }
        let mut pages = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("jpg")) {
                pages.push(path);
            }
        }
        pages.sort();
        let index = self.taken.checked_rem(pages.len());
        let page = index.and_then(|index| pages.get(index));
        let page = page.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no *.jpg in it"))?;
        self.taken = self.taken.wrapping_add(1);
        read(page)
    }
}

/// One byte more than a picture may have, so that a longer one is noticed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PICTURE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Camera for Album {
    fn picture(&mut self, _moment: Moment) -> Result<Picture, CameraError> {
        let bytes = self.next().map_err(|error| CameraError::Unreachable {
            camera: self.path.clone(),
            why: error.to_string(),
        })?;
        Picture::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(name: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![name; len];
        bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
        bytes[len - 2..].copy_from_slice(&[0xff, 0xd9]);
        bytes
    }

    #[test]
    fn a_folder_is_taken_in_turn_and_from_the_beginning_again() {
        let folder = tempfile::tempdir().unwrap();
        for (name, page) in [("2.jpg", b'b'), ("1.jpg", b'a'), ("0.txt", b'x')] {
            fs::write(folder.path().join(name), jpeg(page, 20)).unwrap();
        }
        let mut album = Album::new(folder.path().into());
        let pages: Vec<u8> = (0..3).map(|_| album.picture(Moment::Before).unwrap().bytes()[5]).collect();
        assert_eq!(pages, b"aba");
        assert!(Album::new(folder.path().join("none")).picture(Moment::After).is_err());
        let empty = tempfile::tempdir().unwrap();
        let error = Album::new(empty.path().into()).picture(Moment::After).unwrap_err();
        assert!(error.to_string().contains("no *.jpg in it"), "{error}");
    }

    #[test]
    fn what_is_cut_short_too_long_or_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paper");
        for (bytes, is_picture) in [
            (jpeg(0, 16), true),
            (jpeg(0, MAX_PICTURE), true),
            (jpeg(0, MAX_PICTURE + 1), false),
            (jpeg(0, 15), false),
            (jpeg(0, 100)[..90].to_vec(), false),
            (jpeg(0, 100)[1..].to_vec(), false),
            (b"\x89PNG\r\n\x1a\n and so on and on".to_vec(), false),
            (Vec::new(), false),
        ] {
            fs::write(&path, &bytes).unwrap();
            let picture = Album::new(path.clone()).picture(Moment::Before);
            assert_eq!(picture.is_ok(), is_picture, "{} bytes: {picture:?}", bytes.len());
            assert!(picture.is_err() || picture.unwrap().into_bytes() == bytes, "passed on as it is");
        }
    }
}
