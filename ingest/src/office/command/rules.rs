//! `ingest seal policy`: rules from a text, signed by one root after the other.

use std::path::Path;

use configs::roots::read_key;
use configs::{Document, Section};
use seal::envelope::{Envelope, Kind, to_be_signed};
use seal::grant::Evidence;
use seal::keys::{PublicKey, Signer};
use seal::note::NoteKey;
use seal::policy::{Matter, Named, Policy, VERSION};
use seal::trust::Lease;

use super::{SealError, read, say, write};
use crate::tlog::keyfile::{self, KeyRole};

/// Signs a file of rules, whatever form it has, and shows what was signed.
pub(super) fn sign(file: &Path, key: &Path, output: &Path) -> Result<(), SealError> {
    let key = keyfile::load(key, KeyRole::Signer)?;
    let (name, bytes) = (file.display().to_string(), read(file)?);
    let signed = match Envelope::read(Kind::Policy, &bytes) {
        Ok(envelope) => add(envelope, &key.signer)?,
        Err(_) => {
            let text = String::from_utf8(bytes).map_err(|_| {
                SealError::Usage(format!(
                    "{name} is neither text nor signed rules: see configs/seal-rules.toml"
                ))
            })?;
            let policy = parse(&name, &text).map_err(SealError::Usage)?;
            let payload = policy.to_bytes();
            let envelope = Envelope::sign(Kind::Policy, &payload, &[&key.signer]);
            envelope
                .map(|envelope| envelope.to_bytes())
                .ok_or_else(|| SealError::Failed("the key does not sign".into()))?
        }
    };
    let envelope = Envelope::read(Kind::Policy, &signed).map_err(|_| {
        SealError::Usage(format!(
            "the rules with their signatures have {} bytes: name fewer matters or approvers",
            signed.len()
        ))
    })?;
    let count = envelope.signatures.len();
    if let Some(policy) = Policy::read(envelope.payload) {
        show(&policy);
    }
    write(output, &signed)?;
    say(format_args!("已签名 signed: {count} 个签名 signatures, {}", output.display()));
    Ok(())
}

fn add(mut envelope: Envelope<'_>, signer: &dyn Signer) -> Result<Vec<u8>, SealError> {
    if Policy::read(envelope.payload).is_none() {
        return Err(SealError::Usage("these rules cannot be read by this version".into()));
    }
    let key = signer.public();
    if envelope.signatures.iter().any(|signed| signed.key == key.id()) {
        return Err(SealError::Usage("this key has signed these rules already".into()));
    }
    let signature = signer.sign(&to_be_signed(Kind::Policy, &key, envelope.payload));
    let signature = signature.ok_or_else(|| SealError::Failed("the key does not sign".into()))?;
    envelope.signatures.push(seal::envelope::Signed {
        algorithm: key.algorithm().number(),
        key: key.id(),
        signature: signature.into(),
    });
    Ok(envelope.to_bytes())
}

fn show(policy: &Policy) {
    say(format_args!(
        "印章 seal {} · 规则 rules {} · 演练 rehearsal: {}",
        policy.seal, policy.number, policy.is_test
    ));
    for rule in &policy.matters {
        let name = |&at: &u8| policy.approvers.get(usize::from(at)).map_or("?", |named| named.name.as_str());
        let names: Vec<&str> = rule.approvers.iter().map(name).collect();
        let Matter { matter, needed, most_uses, evidence, may_be_delegated, .. } = rule;
        let deputies = if *may_be_delegated { " · 可委托 may be delegated" } else { "" };
        say(format_args!(
            "  {matter}: {needed} of {} · 每次最多 at most {most_uses} · {}{deputies}",
            names.join(", "),
            evidence_words(*evidence)
        ));
    }
    let Lease { most_s, most_stamps, .. } = policy.lease;
    say(format_args!("  离线 alone: {most_s} s, {most_stamps} 次 stamps"));
}

pub(super) fn evidence_words(evidence: Evidence) -> String {
    let Evidence { before, after, person } = evidence;
    let words = [
        (before, "用印前拍照 photograph before"),
        (after, "用印后拍照 photograph after"),
        (person, "验证身份 person"),
    ];
    let words: Vec<&str> = words.iter().filter(|(asked, _)| *asked).map(|(_, word)| *word).collect();
    if words.is_empty() { "无 no evidence".into() } else { words.join(", ") }
}

/// Reads rules, see `configs/seal-rules.toml`.
pub(super) fn parse(file: &str, text: &str) -> Result<Policy, String> {
    let document = Document::parse(file, text);
    let policy = read_policy(&document);
    let problems = document.finish();
    if !problems.0.is_empty() {
        return Err(problems.to_string());
    }
    let policy = policy.ok_or_else(|| format!("{file} is incomplete"))?;
    // Bounds and the rest are known in one place.
    Policy::read(&policy.to_bytes()).ok_or_else(|| {
        format!("{file}: rules that cannot be: a matter twice, too many of something, a name over 64 bytes")
    })
}

fn key(section: &mut Section<'_>, name: &str) -> Option<PublicKey> {
    section.required(name, |text| read_key(text).map_err(|why| format!("{text:?} {why}")))
}

fn named_of(key: NoteKey) -> Named {
    Named { name: key.name, key: key.key }
}

fn read_policy(document: &Document<'_>) -> Option<Policy> {
    let mut root = document.root();
    let seal = root.required("seal", |text| Ok::<_, String>(text.to_owned()));
    let number = root
        .required_integer("number", 1..=i64::from(u32::MAX))
        .and_then(|number| u32::try_from(number).ok());
    let is_test = root.flag("rehearsal").unwrap_or(false);
    let mut issuers = Vec::new();
    for text in root.texts("issuers") {
        match read_key(&text) {
            Ok(key) => issuers.push(key),
            Err(why) => root.problem("issuers", format!("{text:?} {why}")),
        }
    }
    let log = root.required("log", |text| {
        NoteKey::parse_log_verifier(text)
            .map(named_of)
            .ok_or_else(|| format!("{text:?} is no verifier of a log"))
    });
    let mut witnesses = Vec::new();
    for text in root.texts("witnesses") {
        match NoteKey::parse_witness_verifier(&text) {
            Some(key) => witnesses.push(named_of(key)),
            None => root.problem("witnesses", format!("{text:?} is no verifier of a witness")),
        }
    }
    let witnesses_needed =
        root.required_integer("witnesses_needed", 1..=8).and_then(|n| u8::try_from(n).ok());
    let mut approvers = Vec::new();
    for mut one in root.sections("approver") {
        let person = one.required("person", |text| Ok::<_, String>(text.to_owned()));
        approvers.extend(person.zip(key(&mut one, "key")).map(|(name, key)| Named { name, key }));
    }
    let mut matters = Vec::new();
    for mut one in root.sections("matter") {
        let matter = one.required("matter", |text| Ok::<_, String>(text.to_owned()));
        let mut who = Vec::new();
        for person in one.texts("approvers") {
            let before = who.len();
            let keys = (0_u8..).zip(&approvers).filter(|(_, named)| named.name == person);
            who.extend(keys.map(|(at, _)| at));
            if who.len() == before {
                one.problem("approvers", format!("{person:?} is no [[approver]]"));
            }
        }
        let needed = one.required_integer("needed", 1..=8).and_then(|n| u8::try_from(n).ok());
        let most_uses = one.required_integer("most_uses", 1..=i64::from(seal::grant::MAX_USES));
        let evidence = Evidence {
            before: one.flag("photograph_before").unwrap_or(false),
            after: one.flag("photograph_after").unwrap_or(true),
            person: one.flag("person").unwrap_or(true),
        };
        let may_be_delegated = one.flag("may_be_delegated").unwrap_or(false);
        let people: std::collections::BTreeSet<&str> =
            who.iter().map(|&at| approvers[usize::from(at)].name.as_str()).collect();
        if needed.is_some_and(|needed| usize::from(needed) > people.len()) {
            one.problem("needed", format!("{} people are listed: nobody could ever stamp", people.len()));
        }
        let most_uses = most_uses.and_then(|most| u16::try_from(most).ok());
        if let (Some(matter), Some(needed), Some(most_uses)) = (matter, needed, most_uses) {
            matters.push(Matter { matter, approvers: who, needed, evidence, most_uses, may_be_delegated });
        }
    }
    let mut alone = root.section("alone");
    let lease = Lease {
        most_s: alone.duration_ms("longest", 60_000..=30 * 86_400_000).unwrap_or(86_400_000) / 1000,
        most_stamps: alone.integer("stamps", 0..=10_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(20),
        answer_s: alone.duration_ms("answer", 10_000..=3_600_000).unwrap_or(600_000) / 1000,
    };
    Some(Policy {
        version: VERSION,
        seal: seal?,
        number: number?,
        is_test,
        issuers,
        log: log?,
        witnesses,
        witnesses_needed: witnesses_needed?,
        approvers,
        matters,
        lease,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_right() {
        let text = include_str!("../../../../configs/seal-rules.toml");
        let policy = parse("configs/seal-rules.toml", text).unwrap();
        assert_eq!((policy.seal.as_str(), policy.matters.len(), policy.approvers.len()), ("gongli-07", 2, 3));
        assert_eq!(policy.matters[1].approvers, [0, 1, 2]);
        assert_eq!([0, 1].map(|at: usize| policy.matters[at].may_be_delegated), [true, false]);
        for (from, to, why) in [
            ("needed = 2", "needed = 4", "nobody could ever stamp"),
            ("number = 1", "number = 0", "number"),
            ("\"secretary\", \"clerk\"", "\"secretary\", \"stranger\"", "no [[approver]]"),
        ] {
            assert!(text.contains(from), "{from}");
            let said = parse("rules", &text.replacen(from, to, 1)).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
