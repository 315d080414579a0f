//! What a witness is asked and what its answer means (the log's half of C2SP tlog-witness).

use std::net::SocketAddr;

use seal::note::{self, Note, NoteKey};

use super::{Storage, Tiles};
use crate::client::{self, Answer};
use crate::witness::Submission;

/// How often one witness is asked about one checkpoint: as it is believed to know it; as it says that it does; and once more,
/// as a question before may have reached it late.
const ATTEMPTS: usize = 3;
/// Most of an answer that is shown to people, in characters.
const SHOWN: usize = 200;

/// Where a witness is asked: `http://127.0.0.1:8090/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessUrl {
    addr: SocketAddr,
    /// Begins with a slash, if there is any.
    prefix: String,
}

impl WitnessUrl {
    /// Reads a witness's address.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not a witness: {why}; http://127.0.0.1:8090 expected");
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("it does not start with http://"))?;
        let (addr, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let addr = crate::config::address(addr).map_err(|_| wrong("no address and port"))?;
        if !addr.ip().is_loopback() {
            return Err(wrong("without TLS, which is not built yet, only this machine is asked"));
        }
        if path.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#')) {
            return Err(wrong("only a path may follow"));
        }
        Ok(Self { addr, prefix: path.trim_end_matches('/').into() })
    }
}

/// A witness that this log asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAt {
    /// Where.
    pub url: WitnessUrl,
    /// Whose cosignatures are taken from there.
    pub key: NoteKey,
}

/// Why a witness did not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// It does not answer, or says that it cannot.
    #[error("没有得到应答 no answer: {0}")]
    Silent(String),
    /// It has seen what this log does not have: somebody forked the log, or its files were set back.
    #[error(
        "日志与见证人所见不一致：日志被分叉或被回退，请立即查明 the witness has seen another log: this one was forked, or set back to an \
         older copy. Stop issuing and find out why: {0}"
    )]
    Fork(String),
    /// It refuses.
    #[error("见证人拒绝签名 it refuses: {0}")]
    Refused(String),
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// The line that it adds to the checkpoint.
    Cosigned(String),
    /// It has seen a log of this size last.
    Knows(u64),
    Trouble(Trouble),
}

fn shown(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.trim_end().chars().take(SHOWN).collect();
    format!("{} {text:?}", answer.status)
}

/// What an answer about a note means. Only a line that this key signed counts.
fn meaning(answer: &Answer, note: &str, key: &NoteKey) -> Meaning {
    match answer.status {
        200 => {
            let text = String::from_utf8_lossy(&answer.body);
            let is_its = |line: &&str| {
                let with = format!("{note}{line}");
                Note::parse(with.as_bytes()).is_some_and(|note| note.cosigned_s(key).is_some())
            };
            match text.split_inclusive('\n').find(is_its) {
                Some(line) => Meaning::Cosigned(line.into()),
                None => Meaning::Trouble(Trouble::Refused(format!(
                    "it answers with no signature of {}: is this its key? {}",
                    key.name,
                    shown(answer)
                ))),
            }
        }
        409 => {
            let text = std::str::from_utf8(&answer.body).ok();
            match text.and_then(|text| note::number(text.strip_suffix('\n')?)) {
                Some(size) => Meaning::Knows(size),
                None => Meaning::Trouble(Trouble::Refused(shown(answer))),
            }
        }
        422 => Meaning::Trouble(Trouble::Fork(shown(answer))),
        500.. => Meaning::Trouble(Trouble::Silent(shown(answer))),
        _ => Meaning::Trouble(Trouble::Refused(shown(answer))),
    }
}

/// Asks one witness to cosign the checkpoint `note` over `size` leaves. `knows` is the size that it is believed to know, and
/// is set right. Blocks as long as the HTTP client has patience, some times.
pub(super) fn ask<S: Storage>(
    tiles: &Tiles<S>,
    witness: &WitnessAt,
    knows: &mut u64,
    (size, note): (u64, &str),
) -> Result<String, Trouble> {
    let WitnessUrl { addr, prefix } = &witness.url;
    let path = format!("{prefix}/add-checkpoint");
    for _ in 0..ATTEMPTS {
        let proof = tiles.consistency(*knows, size).map_err(|error| Trouble::Silent(error.to_string()))?;
        let body = Submission { old: *knows, proof, note }.text();
        let content = Some(("text/plain; charset=utf-8", body.as_bytes()));
        let answer = client::request(*addr, "POST", &path, content);
        let answer = answer.map_err(|error| Trouble::Silent(format!("http://{addr}{path}: {error}")))?;
        match meaning(&answer, note, &witness.key) {
            Meaning::Cosigned(line) => {
                *knows = size;
                return Ok(line);
            }
            Meaning::Knows(other) if other == *knows || other > size => {
                return Err(Trouble::Fork(format!("it knows {other} leaves, and {size} were shown to it")));
            }
            Meaning::Knows(other) => *knows = other,
            Meaning::Trouble(trouble) => return Err(trouble),
        }
    }
    Err(Trouble::Silent(format!("it changes its mind: {knows} leaves now")))
}

#[cfg(test)]
mod tests {
    use seal::keys::{MemoryKey, Signer as _, digest};
    use seal::note::{Checkpoint, cosignature, signed};

    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        let url = WitnessUrl::parse("http://127.0.0.1:8090/w/1/").unwrap();
        assert_eq!((url.addr.port(), url.prefix.as_str()), (8090, "/w/1"));
        assert_eq!(WitnessUrl::parse("http://localhost:80").unwrap().prefix, "");
        for (bad, why) in [
            ("https://127.0.0.1:8090", "does not start"),
            ("127.0.0.1:8090", "does not start"),
            ("http://127.0.0.1", "no address"),
            ("http://10.0.0.1:80", "TLS"),
            ("http://127.0.0.1:80/a b", "path"),
        ] {
            let said = WitnessUrl::parse(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn answers_mean_what_the_specification_says() {
        let [log, witness, other] = [1, 2, 3].map(|n| MemoryKey::from_secret(&[n; 32]));
        let key = NoteKey { name: "w".into(), key: witness.public() };
        let checkpoint = Checkpoint { origin: "log".into(), size: 7, root: digest(&[b"root"]) };
        let note = signed(&checkpoint, &log).unwrap();
        let line = cosignature(&checkpoint.text(), "w", &witness, 5).unwrap();
        let foreign = cosignature(&checkpoint.text(), "w", &other, 5).unwrap();
        let of = |status, body: &str| meaning(&Answer { status, body: body.into() }, &note, &key);
        assert_eq!(of(200, &line), Meaning::Cosigned(line.clone()));
        assert_eq!(of(200, &format!("{foreign}{line}")), Meaning::Cosigned(line.clone()), "among others");
        assert_eq!(of(409, "12\n"), Meaning::Knows(12));
        for (status, body) in
            [(200, foreign.as_str()), (200, ""), (409, "012\n"), (409, "12"), (403, "x"), (404, "")]
        {
            assert!(matches!(of(status, body), Meaning::Trouble(Trouble::Refused(_))), "{status} {body:?}");
        }
        assert!(matches!(of(422, ""), Meaning::Trouble(Trouble::Fork(_))));
        assert!(matches!(of(503, ""), Meaning::Trouble(Trouble::Silent(_))));
    }
}
