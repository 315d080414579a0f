//! A whole gateway with a smart seal: the real program, a seal in a folder and a person before it, an authority behind a
//! broker.

#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use boards::seal::world::World;
use seal::grant::{Evidence, Grant};
use seal::keys::{Signer as _, digest};
use seal::receipt::{Method, Outcome, Receipt};
use serde_json::Value;
use tempfile::TempDir;
use wire::{Lane, Payload};

#[allow(dead_code, reason = "each test program uses its part of it")]
mod authority;
#[allow(dead_code, reason = "each test program uses its part of it")]
mod broker;

use authority::{Authority, Heard, SEAL};
use broker::Broker;

/// Everything around the program.
struct Village {
    folder: TempDir,
    broker: Broker,
    world: World,
    authority: Authority,
    /// Frames of the seal lane that were read.
    read: BTreeSet<(u64, u64)>,
    receipts: Vec<Receipt>,
    /// Photographs by the digest that they claim, as far as they have come.
    pictures: BTreeMap<[u8; 32], Vec<u8>>,
    gateway: Option<Running>,
}

/// A running gateway; one that a failed test leaves behind is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn jpeg(byte: u8) -> Vec<u8> {
    let mut bytes = vec![byte; 60_000];
    bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
    bytes.extend([0xff, 0xd9]);
    bytes
}

impl Village {
    fn new() -> Self {
        let (folder, broker) = (TempDir::new().unwrap(), Broker::start());
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("table")).unwrap();
        fs::write(at("table/1.jpg"), jpeg(1)).unwrap();
        fs::write(at("table/2.jpg"), jpeg(2)).unwrap();
        fs::write(at("roots.toml"), configs::roots::text(&authority::roots())).unwrap();
        let pin = gateway::seal::people::hash("1234").unwrap();
        fs::write(at("people.toml"), format!("[[person]]\nname = 'p-4711'\npin = '{pin}'\n")).unwrap();
        let text = format!(
            "[gateway]\nid = 'gw-1'\narea = ''\ndata = 'data'\n[place]\nlat = 30.66\nlon = 104.05\ndatum = 'wgs84'\n\
             [ingest]\nbroker = 'mqtt://{}'\n[board]\nkind = 'simulated'\n\
             [[device]]\nname = 'hall'\nchip = 'sht4x'\nbus = 'i2c-1'\nevery = '1s'\n\
             outputs = {{ temperature = {{ sensor = 'hall.t' }} }}\n\
             [seal]\nname = '{SEAL}'\nroots = 'roots.toml'\npeople = 'people.toml'\nworld = 'world'\n\
             camera = {{ album = 'table' }}\n",
            broker.address
        );
        fs::write(at("gateway.toml"), text).unwrap();
        let world = World::at(&at("world")).unwrap();
        let now_s = jiff::Timestamp::now().as_second() as u64;
        let authority = Authority::new(authority::key(0).public(), now_s);
        let (read, receipts, pictures) = Default::default();
        Self { folder, broker, world, authority, read, receipts, pictures, gateway: None }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(words).arg("--config").arg(self.config());
        command.stdin(Stdio::null()).env("RUST_LOG", "warn");
        command
    }

    /// What a command says, and its exit code.
    fn says(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn json(&self, words: &[&str]) -> Value {
        let (code, said) = self.says(&[words, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} ({code}): {said}"))
    }

    fn start(&mut self) {
        self.gateway = Some(Running(self.command(&["run"]).spawn().unwrap()));
    }

    /// Passes on what was published, until `holds`.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..400 {
            self.pass_on();
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {what}");
    }

    fn pass_on(&mut self) {
        while let Ok(publish) = self.broker.published.try_recv() {
            let frame = publish.frame();
            match frame.payload {
                Payload::Envelopes(envelopes) if self.read.insert((frame.store, frame.sequence)) => {
                    assert_eq!(publish.lane(), Lane::Seal);
                    for envelope in envelopes.envelopes {
                        match self.authority.read(&envelope) {
                            Heard::Receipt(receipt) => self.receipts.push(receipt),
                            Heard::Hello(hello) => {
                                self.authority.now_s = jiff::Timestamp::now().as_second() as u64;
                                for said in self.authority.answers(&hello) {
                                    self.broker.send("wf/1/gw-1/down/seal", &said);
                                }
                            }
                        }
                    }
                }
                Payload::Picture(part) => {
                    let picture = self.pictures.entry(part.digest).or_default();
                    if picture.len() == part.offset as usize {
                        picture.extend(part.bytes);
                    }
                }
                _ => {}
            }
        }
    }

    /// Begins to stamp with the only grant.
    fn stamp(&self) -> Child {
        self.command(&["seal", "stamp", "--json"]).stdout(Stdio::piped()).spawn().unwrap()
    }
}

fn answer(child: Child) -> Value {
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_village_stamps_what_was_granted_and_no_more() {
    let mut village = Village::new();
    let (code, said) = village.says(&["check"]);
    assert!(code == 64 && said.contains("gateway seal init"), "{code} {said}");
    let (code, said) = village.says(&["seal", "init"]);
    assert!(code == 0 && said.contains("指纹 fingerprint"), "{code} {said}");
    let key = said.lines().find_map(|line| line.strip_prefix("公钥 public key")).unwrap();
    village.authority.device = configs::roots::read_key(key.trim()).unwrap();
    assert_eq!(village.says(&["seal", "init"]).0, 1, "never a second time");
    assert_eq!(village.says(&["seal", "status"]).0, 1, "it does not run");
    let (code, said) = village.says(&["check"]);
    assert!(code == 0 && said.contains(SEAL), "{code} {said}");
    village.start();
    village.until("a desk", |village| village.says(&["seal", "status"]).0 == 0);

    // Applied for, approved and logged: it comes by itself.
    let evidence = Evidence { before: true, after: true, person: true };
    let grant = Grant { evidence, ..village.authority.plain(1) };
    village.authority.issue(&grant);
    // Nothing but: ask.
    village.broker.send("wf/1/gw-1/down/seal", b"");
    village.until("a grant", |village| {
        let status = village.json(&["seal", "status"]);
        status["policy"] == 1 && status["time_known"] == true && status["grants"][0]["left"] == 2
    });
    let refused = answer(village.stamp());
    assert_eq!((&refused["refused"], &refused["receipt"]), (&"person".into(), &1.into()), "{refused}");

    village.world.show("pin 1234").unwrap();
    village.until("the pin", |village| village.json(&["seal", "status"])["person_shown"] == true);
    let stamping = village.stamp();
    village.until("open", |village| village.world.press(1).unwrap());
    let stamped = answer(stamping);
    assert_eq!((&stamped["outcome"], &stamped["use"]), (&"stamped".into(), &1.into()), "{stamped}");
    assert!(!village.world.is_open().unwrap(), "it has closed");
    assert!(!village.world.press(1).unwrap(), "and nobody can press it");
    village.until("its receipt", |village| village.receipts.len() == 2);
    let receipt = village.receipts[1].clone();
    assert_eq!((receipt.outcome, receipt.presses), (Outcome::Stamped, 1));
    let person = receipt.scene.person.clone().unwrap();
    assert_eq!((person.name.as_str(), person.method), ("p-4711", Method::Pin));
    village.until("photographs", |village| {
        [receipt.before, receipt.after].iter().all(|picture| {
            let digest_ = picture.unwrap();
            village.pictures.get(&*digest_).is_some_and(|bytes| digest(&[bytes]) == digest_)
        })
    });

    // The program is killed while it is open: the next start closes it, and nobody knows what happened.
    village.world.show("pin 1234").unwrap();
    village.until("the pin", |village| village.json(&["seal", "status"])["person_shown"] == true);
    let mut stamping = village.stamp();
    village.until("open", |village| village.world.is_open().unwrap());
    village.gateway = None;
    // Its gateway is gone, and so is its answer.
    let _ = stamping.wait();
    village.start();
    village.until("its receipt", |village| village.receipts.len() == 3);
    assert_eq!(village.receipts[2].outcome, Outcome::Unknown);
    assert!(!village.world.is_open().unwrap());

    // Used up: whoever brings it again is refused, and that is on record too.
    village.until("contact", |village| !village.json(&["seal", "status"])["heard_s_ago"].is_null());
    let text: String = village.authority.grants[0].1.iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = village.json(&["seal", "present", "--grant", &text]);
    assert_eq!((&answer["refused"], &answer["receipt"]), (&"replayed".into(), &4.into()), "{answer}");
    village.until("its receipt", |village| village.receipts.len() == 4);
    assert_eq!(village.world.strokes().unwrap(), 1, "one stroke on paper, of two granted");
    let socket = village.folder.path().join("data/seal.sock");
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(&village.folder.path().join("data/seal.key")), 0o600);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_kill_at_any_moment_adds_no_stamp() {
    const KILLS: u64 = 8;
    let mut village = Village::new();
    let (_, said) = village.says(&["seal", "init"]);
    let key = said.lines().find_map(|line| line.strip_prefix("公钥 public key")).unwrap();
    village.authority.device = configs::roots::read_key(key.trim()).unwrap();
    let evidence = Evidence { before: true, after: true, person: false };
    let grant = Grant { evidence, max_uses: 10, ..village.authority.plain(1) };
    village.authority.issue(&grant);
    let is_ready = |village: &mut Village| {
        let status = village.json(&["seal", "status"]);
        status["time_known"] == true && !status["grants"][0].is_null() || status["remembered"] == 10
    };
    for kill in 0..KILLS {
        village.start();
        village.until("a desk", |village| village.says(&["seal", "status"]).0 == 0);
        village.until("ready", is_ready);
        let mut stamping = village.stamp();
        match kill % 4 {
            0 => std::thread::sleep(Duration::from_millis(kill * 30)),
            1 => village.until("open", |village| village.world.is_open().unwrap()),
            2 => village.until("pressed", |village| village.world.press(1).unwrap()),
            _ => {
                village.until("pressed", |village| village.world.press(1).unwrap());
                stamping.wait().unwrap();
            }
        }
        village.gateway = None;
        // Nobody holds the lock any more: that takes a limit in the electronics.
        village.world.power_off().unwrap();
        assert!(!village.world.press(1).unwrap());
        stamping.wait().unwrap();
    }
    village.start();
    village.until("all is told", |village| {
        let status = village.says(&["seal", "status", "--json"]);
        let status: Value = serde_json::from_str(&status.1).unwrap_or_default();
        status["receipt_owed"] == false && status["receipts"] == village.receipts.len()
    });
    let spent = village.receipts.iter().filter(|receipt| receipt.outcome != Outcome::Refused).count();
    let stamped = village.receipts.iter().filter(|receipt| receipt.outcome == Outcome::Stamped).count();
    let strokes = usize::try_from(village.world.strokes().unwrap()).unwrap();
    let status = village.json(&["seal", "status"]);
    assert_eq!(status["counter"], spent, "each use has its receipt: {:?}", village.receipts);
    assert!((6..=8).contains(&spent) && spent >= strokes, "{strokes} strokes, {spent} spent");
    assert!((2..=strokes).contains(&stamped) && strokes >= 4, "{strokes} strokes, {stamped} told");
}
