//! Bytes that never change, from the day on which the first seal carries them; none does yet.

use alloc::format;
use alloc::string::String;

use wire::Datum;

use super::authority::*;
use crate::delegation::Delegation;
use crate::envelope::{Envelope, Kind};
use crate::grant::{Fence, Grant};
use crate::keys::{Algorithm, Signer, digest};
use crate::receipt::{Outcome, Position, Receipt, Scene, UseOf, VERSION};
use crate::refusal::Refusal;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frozen(by_ed25519: &'static str, by_sm2: &'static str) -> &'static str {
    match algorithm() {
        Algorithm::Ed25519 => by_ed25519.trim(),
        Algorithm::Sm2 => by_sm2.trim(),
    }
}

fn receipt() -> Receipt {
    let position =
        Position { datum: Datum::Wgs84, lat_e7: 362_870_000, lon_e7: 1_164_360_000, accuracy_m: 20 };
    let digest_of = digest(&[&grant(1).to_bytes()]);
    Receipt {
        version: VERSION,
        seal: "gongli-07".into(),
        number: 300,
        previous: digest(&[b"the one before"]),
        counter: 77,
        boot: id(9),
        scene: Scene { position: Some(position), ..scene() },
        policy: 3,
        epoch: 8,
        used: Some(UseOf { grant: id(1), digest: digest_of, sequence: 1, number: 2, of: 2 }),
        outcome: Outcome::Stamped,
        refusal: None,
        presses: 1,
        before: Some(digest(&[b"before"])),
        after: None,
        is_test: false,
        tampered: 0,
    }
}

#[test]
fn a_grant_of_version_1_is_frozen() {
    let fence = Fence { datum: Datum::Cgcs2000, lat_e7: 362_870_000, lon_e7: 1_164_360_000, radius_m: 200 };
    let grant = Grant { fence: Some(fence), nonce: Some(id(8)), ..grant(1) };
    let bytes = signed(&grant, &[ISSUER, APPROVERS[0]]);
    let frozen = frozen(include_str!("grant.hex"), include_str!("grant-sm2.hex"));
    assert_eq!(hex(&bytes), frozen, "grant v1 is frozen: never edit this test");
    let envelope = Envelope::read(Kind::Grant, &bytes).unwrap();
    assert_eq!(Grant::read(envelope.payload), Ok(grant));
    assert!(
        envelope.is_signed_by(&key(ISSUER).public()) && !envelope.is_signed_by(&key(APPROVERS[1]).public())
    );
    assert!(Envelope::read(Kind::Receipt, &bytes).is_err(), "one kind does not pass for another");
    // Somebody has signed by an algorithm of later: it counts for nothing, and the others count.
    let mut later = envelope.clone();
    later.signatures[1].algorithm = -50;
    let later = later.to_bytes();
    let later = Envelope::read(Kind::Grant, &later).unwrap();
    assert!(later.is_signed_by(&key(ISSUER).public()) && !later.is_signed_by(&key(APPROVERS[0]).public()));
}

#[test]
fn a_receipt_of_version_1_is_frozen() {
    let payload = receipt().to_bytes();
    let bytes = Envelope::sign(Kind::Receipt, &payload, &[&key(9)]).unwrap().to_bytes();
    let frozen = frozen(include_str!("receipt.hex"), include_str!("receipt-sm2.hex"));
    assert_eq!(hex(&bytes), frozen, "receipt v1 is frozen: never edit this test");
    let envelope = Envelope::read(Kind::Receipt, &bytes).unwrap();
    assert!(envelope.is_signed_by(&key(9).public()));
    assert_eq!(Receipt::read(envelope.payload), Some(receipt()));
    let not_used = receipt().used.map(|used| UseOf { number: 0, ..used });
    let refused = Receipt {
        outcome: Outcome::Refused,
        refusal: Some(Refusal::UsedUp),
        presses: 0,
        used: not_used,
        ..receipt()
    };
    assert_eq!(Receipt::read(&refused.to_bytes()), Some(refused.clone()));
    for (impossible, why) in [
        (Receipt { refusal: None, ..refused.clone() }, "a refusal has a reason"),
        (Receipt { presses: 1, ..refused.clone() }, "nothing was pressed"),
        (Receipt { used: receipt().used, ..refused }, "nothing was used"),
        (Receipt { presses: 2, ..receipt() }, "that has a name of its own"),
        (Receipt { used: None, ..receipt() }, "a stamp is of a grant"),
        (Receipt { version: 2, ..receipt() }, "a later version"),
    ] {
        assert_eq!(Receipt::read(&impossible.to_bytes()), None, "{why}");
    }
}

#[test]
fn a_delegation_of_version_1_is_frozen() {
    let delegation = super::delegations::delegation();
    let payload = delegation.to_bytes();
    let bytes = Envelope::sign(Kind::Delegation, &payload, &[&key(APPROVERS[0])]).unwrap().to_bytes();
    let frozen = frozen(include_str!("delegation.hex"), include_str!("delegation-sm2.hex"));
    assert_eq!(hex(&bytes), frozen, "delegation v1 is frozen: never edit this");
    let envelope = Envelope::read(Kind::Delegation, &bytes).unwrap();
    assert_eq!(Delegation::read(envelope.payload), Some(delegation));
    assert!(envelope.is_signed_by(&key(APPROVERS[0]).public()));
    assert!(Envelope::read(Kind::Grant, &bytes).is_err(), "one kind does not pass for another");
}

#[test]
fn a_proof_is_frozen() {
    let proof = proven(b"leaf", 5, &[6]);
    assert_eq!(proof, include_str!("proof.txt"), "the formats are those of C2SP: never edit this test");
}
