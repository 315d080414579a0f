//! A gateway of one hall: a simulated sensor of two quantities, sampled twenty times a second, shipped in small batches.

use std::path::Path;
use std::thread::JoinHandle;

use gateway::{Config, RunError};
use tokio::sync::oneshot;

use crate::broker::Broker;

/// How long a frame may wait for its acknowledgement before a new connection is built, in ms.
pub(crate) const PATIENCE_MS: u64 = 5_000;

/// Its configuration; `more` goes to the end of the file.
pub(crate) fn config(broker: &Broker, data: &Path, more: &str) -> Config {
    let text = format!(
        "[gateway]
id = 'gw-1'
area = 'chengdu/qingyang'
data = '.'
[place]
lat = 30.66
lon = 104.05
datum = 'wgs84'
[ingest]
broker = 'mqtt://{}'
patience = '{PATIENCE_MS}ms'
[board]
kind = 'simulated'
seed = 3
[batch]
age = '100ms'
[[device]]
name = 'hall'
chip = 'sht4x'
bus = 'i2c-1'
every = '50ms'
outputs = {{ temperature = {{ sensor = 'hall.t' }}, humidity = {{ sensor = 'hall.h' }} }}
{more}",
        broker.address
    );
    Config::parse("test.toml", &text, data).unwrap_or_else(|problems| panic!("{problems}"))
}

/// It runs until [`Running::stop`].
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(gateway::run(config, async {
                let _ = stopped.await;
            }))
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().unwrap().expect("a clean stop");
    }

    /// How it ended by itself.
    pub(crate) fn ended(self) -> Result<(), RunError> {
        self.thread.join().unwrap()
    }
}
