//! Who decides about the rules of a seal: a file that is put into the device when it is commissioned, and that whoever checks
//! receipts goes by. `ingest seal roots` writes it.
//!
//! ```toml
//! seal = "gongli-07"
//! roots = ["base64…", "base64…", "base64…"]   # their public keys; nobody's server has the other halves
//! needed = 2                                  # how many have to sign new rules
//! [log]                                       # where the first rules stand
//! name = "seals.example/log"
//! key = "base64…"
//! [[witness]]
//! name = "notary.example"
//! key = "base64…"
//! [witnesses]
//! needed = 1
//! ```

use std::path::Path;
use std::{fmt, fs};

use crate::{Document, Section};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use seal::grant::MAX_TEXT;
use seal::keys::{Algorithm, PublicKey};
use seal::note::NoteKey;
use seal::policy::{MAX_WITNESSES, Roots};
use seal::proof::LogTrust;

/// Most roots: a county's bodies.
const MAX_ROOTS: usize = 8;

/// Reads the file.
///
/// # Errors
/// Every mistake of it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Roots, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    parse(&name, &text)
}

/// Reads its text.
///
/// # Errors
/// Every mistake of it.
pub fn parse(file: &str, text: &str) -> Result<Roots, String> {
    let document = Document::parse(file, text);
    let roots = read(&document);
    let problems = document.finish();
    match roots {
        Some(roots) if problems.0.is_empty() => Ok(roots),
        _ => Err(problems.to_string()),
    }
}

fn read(document: &Document<'_>) -> Option<Roots> {
    let mut root = document.root();
    let seal = root.required("seal", name);
    let texts = root.texts("roots");
    let mut keys = Vec::new();
    for text in &texts {
        match key(text) {
            Ok(key) if keys.contains(&key) => root.problem("roots", format!("{text} is there twice")),
            Ok(key) => keys.push(key),
            Err(why) => root.problem("roots", why),
        }
    }
    if !(1..=MAX_ROOTS).contains(&texts.len()) {
        root.problem("roots", format!("1 to {MAX_ROOTS} public keys expected, found {}", texts.len()));
    }
    let needed = root.required_integer("needed", 1..=MAX_ROOTS as i64).and_then(|n| usize::try_from(n).ok());
    if needed.is_some_and(|needed| needed > texts.len()) {
        root.problem("needed", "more than there are roots: no rules could ever be signed");
    }
    let log = note_key(&mut root.section("log"));
    let mut witnesses = Vec::new();
    let sections = root.sections("witness");
    let count = sections.len();
    for mut section in sections {
        witnesses.extend(note_key(&mut section));
    }
    if !(1..=MAX_WITNESSES).contains(&count) {
        root.problem("witness", format!("1 to {MAX_WITNESSES} witnesses expected, found {count}"));
    }
    let mut section = root.section("witnesses");
    let seen = section.required_integer("needed", 1..=MAX_WITNESSES as i64);
    let seen = seen.and_then(|n| usize::try_from(n).ok());
    if seen.is_some_and(|seen| seen > count) {
        section.problem("needed", "more than there are witnesses: nothing could ever be proven");
    }
    Some(Roots { seal: seal?, keys, needed: needed?, log: LogTrust { log: log?, witnesses, needed: seen? } })
}

fn note_key(section: &mut Section<'_>) -> Option<NoteKey> {
    let name = section.required("name", name);
    let key = section.required("key", |text| {
        let key = key(text)?;
        if key.algorithm() == Algorithm::Ed25519 {
            Ok(key)
        } else {
            Err(format!("{text:?} is no Ed25519 key: logs and witnesses sign with no other, see seal::note"))
        }
    });
    Some(NoteKey { name: name?, key: key? })
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(|c| c.is_control() || c == '+') {
        return Err(format!("{text:?} is not a name: 1 to {MAX_TEXT} bytes without + in one line expected"));
    }
    Ok(text.into())
}

fn key(text: &str) -> Result<PublicKey, String> {
    read_key(text).map_err(|why| format!("{text:?} {why}"))
}

/// A public key as people read and type it: base64url without padding; before one of SM2 stands `sm2:`.
pub fn key_text(key: &PublicKey) -> String {
    let bytes = Base64UrlUnpadded::encode_string(key.bytes());
    match key.algorithm() {
        Algorithm::Ed25519 => bytes,
        Algorithm::Sm2 => format!("{SM2}{bytes}"),
    }
}

/// Stands before the text of an SM2 key.
const SM2: &str = "sm2:";

/// Why a text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// It is none.
    Form,
    /// It is one of SM2, and this build lacks that.
    Lacking,
}

impl NoKey {
    /// What to say behind the text, in Chinese and in English.
    pub fn sentences(self) -> (&'static str, &'static str) {
        match self {
            NoKey::Form => (
                "不是公钥：应为无填充的 base64url，Ed25519 为 43 个字符，SM2 为 sm2: 加 44 个字符",
                "is no public key: base64url without padding expected, 43 characters for Ed25519, sm2: and 44 for SM2",
            ),
            NoKey::Lacking => (
                "是 SM2 公钥，而本程序编译时未启用国密特性 sm",
                "is a key of SM2, which this build lacks: build it with --features sm",
            ),
        }
    }
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chinese, english) = self.sentences();
        write!(f, "{chinese} {english}")
    }
}

/// Reads the text of a public key.
///
/// # Errors
/// [`NoKey`].
pub fn read_key(text: &str) -> Result<PublicKey, NoKey> {
    let (algorithm, bytes) = match text.strip_prefix(SM2) {
        Some(bytes) => (Algorithm::Sm2, bytes),
        None => (Algorithm::Ed25519, text),
    };
    let bytes = Base64UrlUnpadded::decode_vec(bytes).map_err(|_| NoKey::Form)?;
    let key = PublicKey::new(algorithm, &bytes).ok_or(NoKey::Form)?;
    match key {
        PublicKey::Sm2(_) if !algorithm.is_built_in() => Err(NoKey::Lacking),
        PublicKey::Sm2(_) if !key.is_usable() => Err(NoKey::Form),
        key => Ok(key),
    }
}

/// Reads the word of an algorithm that this build has.
///
/// # Errors
/// What was expected.
pub fn read_algorithm(word: &str) -> Result<Algorithm, String> {
    let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == word);
    match known {
        Some(algorithm) if algorithm.is_built_in() => Ok(algorithm),
        Some(_) => Err(format!(
            "本程序编译时未启用国密特性 sm: this build lacks {word}: build it with --features sm"
        )),
        None => Err("ed25519 or sm2 expected".into()),
    }
}

/// The file that says this.
pub fn text(roots: &Roots) -> String {
    use std::fmt::Write as _;
    let list: Vec<String> = roots.keys.iter().map(|key| format!("{:?}", key_text(key))).collect();
    let LogTrust { log, witnesses, needed } = &roots.log;
    let (list, log_key) = (list.join(", "), key_text(&log.key));
    let mut text = format!(
        "seal = {:?}\nroots = [{list}]\nneeded = {}\n\n[log]\nname = {:?}\nkey = {log_key:?}\n",
        roots.seal, roots.needed, log.name
    );
    for witness in witnesses {
        // Writing into memory has no way to fail.
        let _ =
            write!(text, "\n[[witness]]\nname = {:?}\nkey = {:?}\n", witness.name, key_text(&witness.key));
    }
    text + &format!("\n[witnesses]\nneeded = {needed}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(byte: u8) -> String {
        key_text(&PublicKey::Ed25519([byte; 32]))
    }

    /// The base point of the curve.
    const SM2_KEY: &str = "sm2:AjLEriwfGYEZX5kERmo5yZSP4wu_8mYL4XFaRYkzTHTH";
    const LACKS: bool = !cfg!(feature = "sm");

    fn file() -> String {
        format!(
            "seal = 'gongli-07'\nroots = ['{}', '{}']\nneeded = 2\n[log]\nname = 'log.example'\nkey = '{}'\n\
             [[witness]]\nname = 'notary.example'\nkey = '{}'\n[witnesses]\nneeded = 1\n",
            base64(1),
            base64(2),
            base64(3),
            base64(4)
        )
    }

    #[test]
    fn roots_mean_what_they_say() {
        let roots = parse("roots.toml", &file()).unwrap();
        assert_eq!((roots.seal.as_str(), roots.keys.len(), roots.needed), ("gongli-07", 2, 2));
        assert_eq!(roots.keys[1], PublicKey::Ed25519([2; 32]));
        assert_eq!((roots.log.log.name.as_str(), roots.log.needed), ("log.example", 1));
        assert_eq!(roots.log.witnesses[0].key, PublicKey::Ed25519([4; 32]));
        assert_eq!(parse("roots.toml", &text(&roots)), Ok(roots));
    }

    #[test]
    fn every_mistake_is_told() {
        for (from, to, expected) in [
            ("needed = 2", "needed = 3", "more than there are roots"),
            ("needed = 1", "needed = 2", "more than there are witnesses"),
            ("needed = 2", "", "needed: missing"),
            (&base64(2), &base64(1), "is there twice"),
            (&base64(3), "AAAA", "is no public key"),
            (&base64(2), "sm2:AAAA", "is no public key"),
            (&base64(3), SM2_KEY, if LACKS { "this build lacks" } else { "is no Ed25519 key" }),
            ("'notary.example'", "'a+b'", "is not a name"),
            ("[log]", "[logs]", "log.name: missing"),
        ] {
            let why = parse("roots.toml", &file().replacen(from, to, 1)).unwrap_err();
            assert!(why.contains(expected) && why.contains("roots.toml:"), "{from} {to}: {why}");
        }
    }

    #[test]
    fn a_key_says_its_algorithm_or_that_this_build_lacks_it() {
        assert_eq!(read_key(&base64(7)), Ok(PublicKey::Ed25519([7; 32])));
        assert_eq!(read_algorithm("ed25519"), Ok(Algorithm::Ed25519));
        let sm2 = read_key(SM2_KEY);
        let with_roots = parse("roots.toml", &file().replace(&base64(2), SM2_KEY));
        if LACKS {
            assert_eq!(sm2, Err(NoKey::Lacking));
            let said = [with_roots.unwrap_err(), read_algorithm("sm2").unwrap_err()];
            assert!(
                said.iter().all(|why| why.contains("this build lacks") && why.contains("国密")),
                "{said:?}"
            );
        } else {
            assert_eq!(sm2.map(|key| key_text(&key)).as_deref(), Ok(SM2_KEY));
            let roots = with_roots.unwrap();
            assert_eq!(parse("roots.toml", &text(&roots)), Ok(roots));
            assert_eq!(read_algorithm("sm2"), Ok(Algorithm::Sm2));
        }
        assert!(read_algorithm("rsa").is_err());
        for bad in [
            &SM2_KEY[4..],
            &SM2_KEY.replace("sm2:Aj", "sm2:BT"),
            &SM2_KEY.replace("LEriw", "LEraw"),
            &format!("{SM2_KEY}A"),
            "sm2:",
        ] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
    }
}
