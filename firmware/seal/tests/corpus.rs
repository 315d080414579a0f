//! Replays the fuzzer's kept inputs, so that a past find can never come back unnoticed.
#![allow(missing_docs, clippy::unwrap_used)]

use seal::delegation::Delegation;
use seal::envelope::{Envelope, Kind};
use seal::grant::{Grant, Presented};
use seal::notice::Notice;
use seal::policy::Policy;
use seal::proof::Proof;
use seal::receipt::Receipt;
use seal::talk::{Answer, Hello};

#[test]
fn what_is_read_has_one_form() {
    let mut read = [0; 10];
    for entry in std::fs::read_dir("../../benches/fuzz/corpus/seal").unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        let Some((_, bytes)) = input.split_first() else { continue };
        let again = [
            Kind::ALL
                .iter()
                .find_map(|&kind| Envelope::read(kind, bytes).ok())
                .map(|envelope| envelope.to_bytes()),
            Grant::read(bytes).ok().map(|grant| grant.to_bytes()),
            Receipt::read(bytes).map(|receipt| receipt.to_bytes()),
            Presented::read(bytes).map(|presented| presented.to_bytes()),
            Proof::parse(bytes).ok().map(|proof| proof.text().into_bytes()),
            Hello::read(bytes).map(|hello| hello.to_bytes()),
            Answer::read(bytes).map(|answer| answer.to_bytes()),
            Policy::read(bytes).map(|policy| policy.to_bytes()),
            Notice::read(bytes).map(|notice| notice.to_bytes()),
            Delegation::read(bytes).map(|delegation| delegation.to_bytes()),
        ];
        for (read, again) in read.iter_mut().zip(again) {
            *read += usize::from(again.is_some());
            assert!(again.is_none_or(|again| again == bytes));
        }
    }
    assert!(read.iter().all(|&count| count > 0), "each of them is in the corpus: {read:?}");
}
