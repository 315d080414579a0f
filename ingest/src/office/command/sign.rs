//! `ingest seal sign`: an approver sees all of a grant, or of a delegation, then signs it. The server is not believed: what is shown is read out
//! of the bytes that are signed.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use configs::roots::key_text;
use seal::delegation::Delegation;
use seal::envelope::{Kind, to_be_signed};
use seal::grant::Grant;
use seal::keys::Signer as _;
use serde::Deserialize;

use super::rules::evidence_words;
use super::{SealError, read, say};
use crate::tlog::keyfile::{self, KeyRole};

#[derive(Deserialize)]
struct ToSign {
    to_be_signed: String,
    payload: String,
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// A grant in words.
pub(super) fn lines(grant: &Grant) -> Vec<String> {
    let hex = |bytes: &[u8]| super::super::hex(bytes);
    let place = grant.fence.as_ref().map_or_else(
        || "不限 anywhere".to_owned(),
        |fence| {
            let degrees = |e7: i32| f64::from(e7) / 1e7;
            format!("{:.5}°N {:.5}°E ± {} m", degrees(fence.lat_e7), degrees(fence.lon_e7), fence.radius_m)
        },
    );
    let mut people = vec![grant.applicant.clone()];
    people.extend(grant.operators.iter().cloned());
    vec![
        format!("印章 seal        {} (第 {} 号 number)", grant.seal, grant.sequence),
        format!("事项 matter      {}", grant.matter),
        format!(
            "文件 document    {} {}, {} 页 pages",
            grant.hash.as_str().to_uppercase(),
            hex(&grant.document[..]),
            grant.pages
        ),
        format!("次数 uses        {}", grant.max_uses),
        format!("时间 time        {} — {}", time(grant.not_before_s), time(grant.expires_s)),
        format!("地点 place       {place}"),
        format!("使用人 people    {}", people.join(", ")),
        format!("证据 evidence    {}", evidence_words(grant.evidence)),
        format!("演练 rehearsal   {}", grant.is_test),
        format!("授权 grant       {}", hex(&grant.id[..])),
    ]
}

/// Whether a file is the document of a grant, which is said.
fn is_document(grant: &Grant, file: &Path) -> Result<(), SealError> {
    let digest = grant.hash.digest(&read(file)?).ok_or_else(|| {
        SealError::Failed(
            "本程序编译时未启用国密特性 sm this build lacks SM3: build ingest with --features sm".into(),
        )
    })?;
    if digest != grant.document {
        return Err(SealError::Failed(format!(
            "{} 不是授权中的文件 is not the document of this grant: nothing is signed",
            file.display()
        )));
    }
    let _ = writeln!(io::stderr(), "{} 正是授权中的文件 is the document of this grant", file.display());
    Ok(())
}

/// A delegation in words.
fn delegation_lines(delegation: &Delegation) -> Vec<String> {
    vec![
        "委托审批 a delegation: the deputy approves as if you did".into(),
        format!("印章 seal        {}", delegation.seal),
        format!("委托人 from      {}", delegation.from),
        format!("代理人 to        {}", delegation.to),
        format!("事项 matters     {}", delegation.matters.join(", ")),
        format!("时间 time        {} — {}", time(delegation.from_s), time(delegation.until_s)),
        format!("编号 delegation  {}", super::super::hex(&delegation.id[..])),
    ]
}

/// Shows and signs.
pub(super) fn sign(
    file: Option<&Path>,
    key: &Path,
    document: Option<&Path>,
    yes: bool,
) -> Result<(), SealError> {
    let key = keyfile::load(key, KeyRole::Signer)?;
    let bytes = match file {
        Some(file) => read(file)?,
        None => {
            let mut bytes = Vec::new();
            io::stdin().take(64 << 10).read_to_end(&mut bytes).map_err(super::failed("standard input"))?;
            bytes
        }
    };
    let wrong = |why: &str| {
        SealError::Usage(format!(
            "{why}: the answer of /api/v1/applications/…/to-sign or of /api/v1/delegations/draft expected"
        ))
    };
    let given: ToSign = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
    let payload = Base64::decode_vec(&given.payload).map_err(|_| wrong("the payload is no base64"))?;
    let grant = Grant::read(&payload);
    let (kind, lines) = match (&grant, Delegation::read(&payload)) {
        (Ok(grant), _) => (Kind::Grant, lines(grant)),
        (_, Some(delegation)) => (Kind::Delegation, delegation_lines(&delegation)),
        (Err(error), None) => {
            return Err(wrong(&format!("the payload is no grant ({error:?}) and no delegation")));
        }
    };
    let public = key.signer.public();
    let message = to_be_signed(kind, &public, &payload);
    if Base64::decode_vec(&given.to_be_signed).ok().as_ref() != Some(&message) {
        return Err(wrong("what is to be signed is not what is shown, or is for another key"));
    }
    for line in lines {
        let _ = writeln!(io::stderr(), "{line}");
    }
    match (document, &grant) {
        (Some(document), Ok(grant)) => is_document(grant, document)?,
        (Some(_), Err(_)) => return Err(wrong("--document is given, and this is no grant of a document")),
        (None, _) => {}
    }
    if !yes {
        if file.is_none() || !io::stdin().is_terminal() {
            return Err(SealError::Usage(
                "nobody can be asked: name the file and run it in a terminal, or say --yes".into(),
            ));
        }
        let _ = write!(io::stderr(), "同意并签名？ sign this? [yes/no] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(super::failed("standard input"))?;
        if answer.trim() != "yes" {
            return Err(SealError::Failed("未签名 not signed".into()));
        }
    }
    let signature =
        key.signer.sign(&message).ok_or_else(|| SealError::Failed("the key does not sign".into()))?;
    say(serde_json::json!({ "key": key_text(&public), "signature": Base64::encode_string(&signature) }));
    Ok(())
}
