//! The filer: writes windows that have settled to Parquet.
//!
//! They settle in memory for a minute, or until they are too many, and are then written for all of that time at once, in
//! as few parts as that gives. It takes seconds, in which readings have to go on: hence a thread beside the keeper's. The
//! files count as soon as the keeper's next checkpoint names them; without it the next start removes them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::keeper::{KeepError, repeated};
use crate::columns::{PoolFolder, Stretch, write_windows};
use crate::counters::{Counters, Part};
use crate::pool::Settled;

/// Bytes of windows that may settle: a minute of a city of 22 million devices takes some 100 MiB. Late readings touch
/// windows of a whole day, so that minutes alone are no bound. As many may settle while the last ones are being written;
/// after that no readings are written either, and the log has no room for more.
pub(super) const MAX_SETTLING: usize = 128 << 20;

/// Writes windows and returns how many files that took.
pub(super) fn file(folder: &PoolFolder, settled: &Settled) -> Result<u64, KeepError> {
    let stretch = Stretch { from: settled.from, to: settled.to };
    Ok(write_windows(folder, stretch, &settled.windows)?)
}

/// Starts the thread: windows come in, numbers of files go out.
pub(super) fn start(
    folder: PoolFolder,
    windows: Receiver<Settled>,
    filed: mpsc::Sender<u64>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("filer".into()).spawn(move || {
        while let Ok(settled) = windows.recv() {
            let attempt = || file(&folder, &settled);
            let Some(files) = repeated(attempt, Part::Windows, &counters, || filed.is_closed()) else {
                return;
            };
            // The apply thread wants them back.
            drop(settled);
            if filed.blocking_send(files).is_err() {
                return;
            }
        }
    })
}
