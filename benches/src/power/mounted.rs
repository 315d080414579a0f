//! An image of a disk as a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

/// An image, mounted for as long as this lives. Wants root.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `image` at the folder `at`, which is made.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn new(image: &Path, at: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(at)?;
        let status = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(at).status()?;
        ensure!(status.success(), "{} cannot be mounted", image.display());
        Ok(Self(at.into()))
    }

    /// A folder on it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A failure shows when the next image cannot be mounted here.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
