//! `ingest seal verify`: is this impression covered by a grant?

use std::net::SocketAddr;
use std::path::Path;

use seal::keys::{Digest, digest};
use serde::Deserialize;

use super::super::check::Bundle;
use super::super::{hex, unhex};
use super::{SealError, get, read, roots, say, sign};

#[derive(Deserialize)]
struct Impression {
    receipt: Named,
    revoked_ms: Option<i64>,
    bundle: Bundle,
}

#[derive(Deserialize)]
struct Named {
    seal: String,
    at_ms: i64,
}

/// The digest of what was given: of a file, or written out.
fn asked(what: &str) -> Result<Digest, SealError> {
    // The code on paper is an address that ends with the digest.
    if let Some(bytes) = what.rsplit(['/', '#', '=']).next().and_then(unhex::<32>) {
        return Ok(bytes.into());
    }
    Ok(digest(&[&read(Path::new(what))?]))
}

/// Checks and says what was checked.
pub(super) fn verify(http: SocketAddr, what: &str, file: Option<&Path>) -> Result<(), SealError> {
    let asked = asked(what)?;
    let name = hex(&asked[..]);
    say(format_args!("SHA-256 {name}"));
    let found = get(http, &format!("/api/v1/impressions/{name}"))?;
    let found: Vec<Impression> = serde_json::from_slice(&found)
        .map_err(|error| SealError::Failed(format!("the server's answer: {error}")))?;
    if found.is_empty() {
        say("没有这样的用印记录：该印迹没有授权 there is no such impression: nothing covers it");
        return Err(SealError::DoesNotHold);
    }
    // Anybody may photograph a page, and a seal name the photograph: one use that covers it is enough.
    let mut holds = false;
    for impression in found {
        let roots = roots(http, file, &impression.receipt.seal)?;
        let checked = impression.bundle.check(&asked, &roots);
        for step in &checked.steps {
            match &step.wrong {
                None => say(format_args!("  ✓ {} {}", step.zh, step.en)),
                Some(wrong) => say(format_args!("  ✗ {} {}: {wrong}", step.zh, step.en)),
            }
        }
        if let (Some(receipt), Some(grant)) = (&checked.receipt, &checked.grant) {
            let number = receipt.used.map_or(0, |used| used.number);
            say(format_args!(
                "第 {number} 次用印，共授权 {} 次 use {number} of {}",
                grant.max_uses, grant.max_uses
            ));
            sign::lines(grant).iter().for_each(say);
            say(format_args!(
                "日志 {0} 片之内未见撤销；是否有隐瞒，可用 ingest seal audit 通查 no revocation was shown, in a log of {0} leaves; whether one is \
                 kept back shows ingest seal audit",
                checked.log_size
            ));
        }
        let is_revoked = impression.revoked_ms.is_some_and(|at_ms| at_ms <= impression.receipt.at_ms);
        if is_revoked {
            say("  ✗ 用印前授权已被撤销 the grant was taken back before");
        }
        holds |= checked.holds() && !is_revoked;
    }
    if holds {
        say("有授权 covered by a grant");
        Ok(())
    } else {
        Err(SealError::DoesNotHold)
    }
}
