//! What an acknowledgement promises, with a disk that syncs only when it is told to.

use std::fs::File;
use std::path::Path;
use std::sync::Condvar;

use configs::Catalogue;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::{AsyncClient, Event, MqttOptions, PublishOptions};
use wire::{Codec, Lane};

use super::*;
use crate::engine::{EngineConfig, EngineThreads};
use crate::feeds::Feed;
use crate::log::{Folder, SegmentFile, Storage};
use crate::pool::tests::{gateway, readings};
use crate::senml::Mappings;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate before the platters.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_shut: bool,
    /// Syncs that stand before the shut gate.
    held: usize,
    /// Syncs asked for since the gate was first shut.
    syncs: usize,
}

impl Gate {
    fn set_shut(&self, is_shut: bool) {
        self.state.lock().unwrap().is_shut = is_shut;
        self.changed.notify_all();
    }

    fn held(&self) -> usize {
        self.state.lock().unwrap().held
    }
}

struct Held(Folder, Arc<Gate>);

struct HeldFile(File, Arc<Gate>);

impl Storage for Held {
    type File = HeldFile;

    fn list(&mut self) -> io::Result<Vec<u64>> {
        self.0.list()
    }

    fn create(&mut self, base: u64, header: &[u8], length: u64) -> io::Result<HeldFile> {
        Ok(HeldFile(self.0.create(base, header, length)?, Arc::clone(&self.1)))
    }

    fn open(&mut self, base: u64) -> io::Result<HeldFile> {
        Ok(HeldFile(self.0.open(base)?, Arc::clone(&self.1)))
    }

    fn remove(&mut self, base: u64) -> io::Result<()> {
        self.0.remove(base)
    }
}

impl SegmentFile for HeldFile {
    fn length(&self) -> io::Result<u64> {
        SegmentFile::length(&self.0)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        SegmentFile::read(&self.0, offset, length)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        SegmentFile::write(&mut self.0, offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.1.state.lock().unwrap();
        state.syncs += 1;
        state.held += 1;
        while state.is_shut {
            state = self.1.changed.wait(state).unwrap();
        }
        state.held -= 1;
        drop(state);
        SegmentFile::sync(&mut self.0)
    }
}

#[test]
fn what_is_granted_shrinks_with_the_crowd() {
    assert_eq!([0, 1, 256, 512, 4_096, 10_000, 200_000].map(grant), [64, 64, 64, 32, 4, 2, 2]);
}

/// An engine whose log syncs through a gate.
fn gated(data: &Path) -> (Engine, EngineThreads, Arc<Gate>) {
    let catalogue = Arc::new(Catalogue::builtin());
    let config = EngineConfig::new(data.to_owned(), catalogue, Arc::new(Mappings::default()));
    let gate = Arc::new(Gate::default());
    let below = Arc::clone(&gate);
    let (engine, threads) =
        Engine::start_on(config, Arc::new(Feed::new(1)), |folder| Held(folder, below)).unwrap();
    (engine, threads, gate)
}

async fn until(what: &str, mut pleases: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !pleases() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_of_one_connection_shares_a_sync_and_no_answer_leaves_before_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let (engine, threads, gate) = gated(folder.path());
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker =
        Broker::start(anywhere, 1, 16, engine.clone(), Arc::default(), Listeners::default()).unwrap();

    let options = MqttOptions::new("caotang-03", ("127.0.0.1".to_owned(), broker.addr().port()));
    let (client, mut events) = AsyncClient::builder(options).capacity(256).build();
    let acks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&acks);
    let polling = tokio::spawn(async move {
        loop {
            if let Event::Incoming(Packet::PubAck(ack)) = events.poll().await.unwrap() {
                assert_eq!(ack.reason, PubAckReason::Success);
                seen.fetch_add(1, Relaxed);
            }
        }
    });
    let topic = wire::topic::up(&gateway("caotang-03"), Lane::Reading);
    let publish = async |sequence: u64| {
        let bytes = readings("caotang-03", sequence, now_ms(), &[20.0]).encode(Codec::Zstd).unwrap();
        client.publish(&topic, bytes, PublishOptions::at_least_once()).await.unwrap();
    };

    gate.state.lock().unwrap().syncs = 0;
    gate.set_shut(true);
    publish(1).await;
    until("the first frame at the gate", || gate.held() == 1).await;
    for sequence in 2..=u64::from(RECEIVE_MAXIMUM) {
        publish(sequence).await;
    }
    let others = usize::from(RECEIVE_MAXIMUM) - 1;
    until("the rest of the window in the queue", || engine.waiting() == others).await;
    assert_eq!(acks.load(Relaxed), 0, "acknowledged before it was on the disk");

    gate.set_shut(false);
    until("all acknowledgements", || acks.load(Relaxed) == others + 1).await;
    assert_eq!(gate.state.lock().unwrap().syncs, 2, "one for the first frame, one for the 63 behind it");

    polling.abort();
    tokio::task::spawn_blocking(move || {
        broker.stop();
        threads.stop();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_ends_is_told_so_that_ingest_starts_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let (engine, threads, gate) = gated(folder.path());
    assert!(tokio::time::timeout(Duration::from_millis(50), engine.ended()).await.is_err(), "it lives");
    // A panic with the lock in hand poisons it, and the log's next sync panics.
    let poisoned = Arc::clone(&gate);
    let _ = std::thread::spawn(move || {
        let _state = poisoned.state.lock().unwrap();
        panic!("on purpose");
    })
    .join();
    let frame = readings("caotang-03", 1, now_ms(), &[20.0]).encode(Codec::Zstd).unwrap();
    let taken = engine.take_frame(&gateway("caotang-03"), Lane::Reading, frame, now_ms()).await;
    assert!(!matches!(taken, crate::engine::Taken::Durable), "{taken:?}");
    assert!(tokio::time::timeout(PATIENCE, engine.ended()).await.is_ok());
    tokio::task::spawn_blocking(move || threads.stop()).await.unwrap();
}
