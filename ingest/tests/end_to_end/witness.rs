//! A log and the real `ingest witness`: cosigned, alone, together, and against a fork.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use ingest::client::request;
use ingest::tlog::{Cosigned, Folder, Rounds, Tlog, WitnessAt, WitnessUrl};
use ingest::witness::Submission;
use seal::keys::{MemoryKey, Signer as _};
use seal::note::NoteKey;
use seal::proof::{LogTrust, Proof};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::vocabulary::PATIENCE;

const LOG: &str = "log.example/seals";

fn log_key() -> MemoryKey {
    MemoryKey::from_secret(&[1; 32])
}

fn log_name() -> NoteKey {
    NoteKey { name: LOG.into(), key: log_key().public() }
}

fn log(folder: &Path) -> Tlog {
    Tlog::open(Folder::open(folder).unwrap(), LOG, Box::new(log_key())).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ingest")).arg("witness").args(arguments).output().unwrap()
}

/// A running witness. What it says on stderr comes line by line.
struct Witness {
    folder: PathBuf,
    key: NoteKey,
    addr: String,
    child: Child,
    lines: Receiver<String>,
}

impl Witness {
    fn start(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key");
        let made = run(&["--new-key", file.to_str().unwrap(), "--name", "witness.example"]);
        let verifier = String::from_utf8(made.stdout).unwrap();
        let key = NoteKey::parse_witness_verifier(verifier.trim_end()).unwrap();
        let (child, lines, addr) = Self::spawn(&folder, "127.0.0.1:0");
        Self { folder, key, addr, child, lines }
    }

    fn spawn(folder: &Path, listen: &str) -> (Child, Receiver<String>, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ingest"))
            .args(["witness", "--listen", listen, "--log", &log_name().log_verifier()])
            .args(["--key".as_ref(), folder.join("key").as_os_str()])
            .args(["--data".as_ref(), folder.join("seen").as_os_str()])
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = sync_channel(1000);
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let served = said(&lines, "the witness is serving");
        let addr = served.split("http=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        (child, lines, addr)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        (self.child, self.lines, _) = Self::spawn(&self.folder, &self.addr);
    }

    fn at(&self) -> WitnessAt {
        WitnessAt { url: WitnessUrl::parse(&format!("http://{}", self.addr)).unwrap(), key: self.key.clone() }
    }

    /// What it answers to a log that believes that it has seen `old` leaves.
    fn answers(&self, log: &Tlog, old: u64) -> (u16, String) {
        let tiles = log.tiles();
        let proof = tiles.consistency(old, tiles.size()).unwrap();
        self.answers_to(&Submission { old, proof, note: &tiles.newest() }.text())
    }

    fn answers_to(&self, body: &str) -> (u16, String) {
        let content = Some(("text/plain", body.as_bytes()));
        let answer = request(self.addr.parse().unwrap(), "POST", "/add-checkpoint", content).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line with these words.
fn said(lines: &Receiver<String>, words: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{words:?} was not said"));
        if line.contains(words) {
            return line;
        }
    }
}

async fn cosigned(watch: &mut watch::Receiver<Cosigned>, size: u64, count: usize) -> Cosigned {
    let is_it = |one: &Cosigned| one.size == size && one.count == count;
    let found = tokio::time::timeout(PATIENCE, watch.wait_for(is_it)).await;
    found.unwrap_or_else(|_| panic!("{size} leaves were not cosigned by {count}")).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_wants_both_witnesses_and_one_that_was_away_catches_up() {
    let folder = TempDir::new().unwrap();
    let [one, mut two] = ["one", "two"].map(|name| Witness::start(folder.path().join(name)));
    let mut log = log(&folder.path().join("log"));
    let tiles = log.tiles();
    let rounds = Rounds::start(&log, vec![one.at(), two.at()], 2);
    let mut watch = rounds.cosigned();
    log.append(&[b"grant 1", b"grant 2"]).unwrap();
    let both = cosigned(&mut watch, 2, 2).await;
    let trust = LogTrust { log: log_name(), witnesses: vec![one.key.clone(), two.key.clone()], needed: 2 };
    let proof = tiles.proof(1, &both.note).unwrap();
    let (checkpoint, seen_s) = Proof::parse(proof.as_bytes()).unwrap().verify(b"grant 2", &trust).unwrap();
    assert!(checkpoint.size == 2 && seen_s > 1_700_000_000);
    assert_eq!(tiles.checkpoint(), both.note, "what is shown to everybody");

    two.kill();
    log.append(&[b"grant 3"]).unwrap();
    log.append(&[b"grant 4"]).unwrap();
    // The other one has cosigned, which is not enough: what is shown stays what both have seen.
    let started = std::time::Instant::now();
    while one.answers(&log, 4).0 != 200 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(*watch.borrow(), both);
    two.start_again();
    let later = cosigned(&mut watch, 4, 2).await;
    let proof = tiles.proof(3, &later.note).unwrap();
    assert!(Proof::parse(proof.as_bytes()).unwrap().verify(b"grant 4", &trust).is_ok());

    // A log that starts again shows what it has shown, at once.
    drop((rounds, log));
    let log = self::log(&folder.path().join("log"));
    assert_eq!(log.tiles().checkpoint(), later.note);
    let rounds = Rounds::start(&log, vec![one.at(), two.at()], 2);
    assert_eq!(*rounds.cosigned().borrow(), later);
}

#[test]
fn a_fork_is_refused_and_said_loudly() {
    let folder = TempDir::new().unwrap();
    let mut witness = Witness::start(folder.path().join("witness"));
    let [mut honest, mut fork] = ["honest", "fork"].map(|name| log(&folder.path().join(name)));
    honest.append(&[b"a", b"b", b"c"]).unwrap();
    fork.append(&[b"a", b"X", b"c"]).unwrap();
    assert_eq!(witness.answers(&honest, 0).0, 200);
    // It was killed, and has not forgotten.
    witness.kill();
    witness.start_again();
    assert_eq!(witness.answers(&fork, 0), (409, "3\n".into()));
    assert_eq!(witness.answers(&fork, 3), (409, "3\n".into()));
    said(&witness.lines, "A FORKED LOG");
    fork.append(&[b"d"]).unwrap();
    assert_eq!(witness.answers(&fork, 3).0, 422);
    said(&witness.lines, "NOT CONSISTENT");
    honest.append(&[b"d"]).unwrap();
    assert_eq!(witness.answers(&honest, 3).0, 200, "the honest one goes on");
    let text = "old 0\n\nother.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— other.example AAAAAAAA\n";
    for (body, status) in
        [("", 400), (text, 404), (&text.replace("other.example", LOG), 403), (&"x".repeat(100_000), 413)]
    {
        assert_eq!(witness.answers_to(body).0, status, "{}", &body[..body.len().min(40)]);
    }
}

#[test]
fn the_command_teaches_and_keeps_keys() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.key");
    let new_key = ["--new-key", path.to_str().unwrap(), "--name", "witness.example/w1"];
    let made = run(&new_key);
    assert!(made.status.success());
    assert!(made.stdout.starts_with(b"witness.example/w1+"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&new_key);
    assert_eq!(again.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not overwritten"));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for word in ["--new-key", "409", "Keep the data folder", "见证"] {
        assert!(help.contains(word), "{word}");
    }
    let (key, data) = (path.to_str().unwrap(), folder.path().join("d"));
    let vkey = log_name().log_verifier();
    let serve = |listen: &'static str, log: &str| {
        run(&["--listen", listen, "--key", key, "--data", data.to_str().unwrap(), "--log", log, "--log", log])
    };
    for (listen, log, words) in [
        ("0.0.0.0:0", vkey.as_str(), "TLS is not built yet"),
        ("127.0.0.1:0", &vkey, "given twice"),
        ("127.0.0.1:0", "log.example", "is not the verifier of a log"),
    ] {
        let refused = serve(listen, log);
        assert!(refused.status.code().is_some_and(|code| code != 0));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(words), "{words}");
    }
}
