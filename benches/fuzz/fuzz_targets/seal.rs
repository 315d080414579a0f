//! Smart seals: whatever a stranger may hand to a seal, or to who checks its receipts. The first byte says what it is to be,
//! or `SEAL_PARSER`, a number from 0 to 10, for all of a run.
#![no_main]
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use seal::delegation::Delegation;
use seal::envelope::{Envelope, Kind};
use seal::grant::{Grant, Presented};
use seal::note::{Checkpoint, Note};
use seal::notice::Notice;
use seal::policy::Policy;
use seal::proof::Proof;
use seal::receipt::Receipt;
use seal::talk::{Answer, Hello};

static ONLY: LazyLock<Option<u8>> = LazyLock::new(|| {
    std::env::var("SEAL_PARSER").ok().map(|only| only.parse().expect("SEAL_PARSER is a number"))
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    // What is read has one form: it is written again as the same bytes.
    match ONLY.unwrap_or(choice) % 11 {
        0 => {
            for kind in Kind::ALL {
                let again = Envelope::read(kind, bytes).map(|envelope| envelope.to_bytes());
                assert!(again.is_err() || again.is_ok_and(|again| again == bytes));
            }
        }
        1 => assert!(Grant::read(bytes).map_or(true, |grant| grant.to_bytes() == bytes)),
        2 => assert!(Receipt::read(bytes).is_none_or(|receipt| receipt.to_bytes() == bytes)),
        3 => assert!(Presented::read(bytes).is_none_or(|presented| presented.to_bytes() == bytes)),
        4 => assert!(Proof::parse(bytes).map_or(true, |proof| proof.text().as_bytes() == bytes)),
        6 => assert!(Hello::read(bytes).is_none_or(|hello| hello.to_bytes() == bytes)),
        7 => assert!(Answer::read(bytes).is_none_or(|answer| answer.to_bytes() == bytes)),
        8 => assert!(Policy::read(bytes).is_none_or(|policy| policy.to_bytes() == bytes)),
        9 => assert!(Notice::read(bytes).is_none_or(|notice| notice.to_bytes() == bytes)),
        10 => assert!(Delegation::read(bytes).is_none_or(|delegation| delegation.to_bytes() == bytes)),
        _ => {
            let checkpoint = Note::parse(bytes).and_then(|note| Some((Checkpoint::parse(note.text)?, note)));
            assert!(checkpoint.is_none_or(|(checkpoint, note)| note.text.starts_with(&checkpoint.text())));
        }
    }
});
