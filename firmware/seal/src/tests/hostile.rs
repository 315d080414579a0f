//! Bytes of strangers.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::authority::*;
use crate::decision::decide;
use crate::delegation::{Delegation, Deputed};
use crate::envelope::{Envelope, Kind};
use crate::grant::{Grant, Presented};
use crate::note::{Checkpoint, Note};
use crate::notice::Notice;
use crate::policy::Policy;
use crate::proof::Proof;
use crate::receipt::Receipt;
use crate::talk::{Answer, Hello};

/// Reads bytes as everything that they could be: what is read is written again as the same bytes.
fn read_all(bytes: &[u8]) {
    for kind in Kind::ALL {
        if let Ok(envelope) = Envelope::read(kind, bytes) {
            assert_eq!(envelope.to_bytes(), bytes);
        }
    }
    assert!(Grant::read(bytes).map_or(true, |grant| grant.to_bytes() == bytes));
    assert!(Receipt::read(bytes).is_none_or(|receipt| receipt.to_bytes() == bytes));
    assert!(Presented::read(bytes).is_none_or(|presented| presented.to_bytes() == bytes));
    assert!(Hello::read(bytes).is_none_or(|hello| hello.to_bytes() == bytes));
    assert!(Answer::read(bytes).is_none_or(|answer| answer.to_bytes() == bytes));
    assert!(Policy::read(bytes).is_none_or(|policy| policy.to_bytes() == bytes));
    assert!(Delegation::read(bytes).is_none_or(|delegation| delegation.to_bytes() == bytes));
    assert!(Notice::read(bytes).is_none_or(|notice| notice.to_bytes() == bytes));
    let _ = Proof::parse(bytes).map(|proof| proof.text());
    let _ = Note::parse(bytes).map(|note| Checkpoint::parse(note.text));
}

fn altered(good: &[u8], changes: &[(usize, u8)], length: usize) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for &(at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    bytes.truncate(length.max(1));
    bytes
}

proptest! {
    #[test]
    fn no_altered_grant_gives_leave(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        length in prop_oneof![4 => Just(usize::MAX), 1 => 1..1500_usize],
    ) {
        let good = in_order(&grant(1));
        let bytes = altered(&good, &changes, length);
        let found = decide(&trust(), &memory(), &bytes, &moment());
        prop_assert_eq!(found.is_ok(), bytes == good);
        let Presented { grant: envelope, proof } = Presented::read(&good).unwrap();
        for part in [envelope, proof, Envelope::read(Kind::Grant, envelope).unwrap().payload] {
            read_all(&altered(part, &changes, length));
        }
    }

    #[test]
    fn no_altered_delegation_is_taken(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        length in prop_oneof![4 => Just(usize::MAX), 1 => 1..1500_usize],
    ) {
        let good = super::delegations::in_order();
        let bytes = altered(&good, &changes, length);
        let found = Deputed::open(&bytes, &super::delegations::trust());
        prop_assert_eq!(found.is_ok(), bytes == good);
        let Presented { grant: envelope, .. } = Presented::read(&good).unwrap();
        for part in [envelope, Envelope::read(Kind::Delegation, envelope).unwrap().payload] {
            read_all(&altered(part, &changes, length));
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        prop_assert!(decide(&trust(), &memory(), &bytes, &moment()).is_err());
    }
}
