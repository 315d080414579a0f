//! Notes that are kept beside frames, in one write.

use super::*;

fn receipt(byte: u8) -> Payload {
    Payload::Envelopes(wire::Envelopes { envelopes: vec![vec![byte; 300]] })
}

fn journal(
    opened: &Opened,
    store: u64,
    notes: &[(&str, Option<&[u8]>)],
    payloads: Vec<Payload>,
) -> Result<(), NotKept> {
    let notes = notes.iter().map(|(name, note)| ((*name).to_owned(), note.map(<[u8]>::to_vec))).collect();
    opened.buffer.journal_blocking(store, notes, payloads)
}

fn recalled(opened: &Opened) -> Vec<(String, Vec<u8>)> {
    opened.buffer.recall_blocking().expect("a store").notes
}

#[test]
fn notes_come_back_with_the_frames_they_were_kept_with() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    let store = heads(&opened).store;
    assert_eq!(opened.buffer.recall_blocking(), Ok(Notes { store, notes: Vec::new() }));
    journal(&opened, store, &[("b", Some(b"1")), ("a", Some(&[7; MAX_NOTE_BYTES]))], vec![receipt(1)])
        .unwrap();
    journal(&opened, store, &[("b", None), ("c", Some(b""))], Vec::new()).unwrap();
    assert_eq!(head(&opened, Lane::Seal), (1, 2), "told as soon as it is durable");
    let expected = vec![("a".to_owned(), vec![7; MAX_NOTE_BYTES]), ("c".to_owned(), Vec::new())];
    assert_eq!(recalled(&opened), expected);
    let too_long = vec![0; MAX_NOTE_BYTES + 1];
    assert!(matches!(journal(&opened, store, &[("a", Some(&too_long))], Vec::new()), Err(NotKept::Unfit(_))));
    let empty = Payload::Envelopes(wire::Envelopes { envelopes: vec![Vec::new()] });
    assert!(matches!(journal(&opened, store, &[("a", None)], vec![empty]), Err(NotKept::Unfit(_))));
    assert_eq!(journal(&opened, store + 1, &[("a", None)], Vec::new()), Err(NotKept::OtherStore));
    close(opened);
    let opened = open_in(&folder);
    assert_eq!(recalled(&opened), expected, "nothing that failed has changed anything");
    assert_eq!(read(&opened, Lane::Seal, 1).expect("it waits").payload, receipt(1));
    close(opened);
}

#[test]
fn a_journal_that_fails_is_told_and_not_tried_again() {
    for (fail, is_there, is_same_store) in
        [(Fail::Before, false, true), (Fail::After, true, true), (Fail::Panic, false, false)]
    {
        let folder = TempDir::new().expect("a folder");
        let opened = open_in(&folder);
        let store = heads(&opened).store;
        journal(&opened, store, &[("n", Some(b"old"))], Vec::new()).unwrap();
        opened.buffer.commands.blocking_send(Command::FailJournal(fail)).unwrap();
        let told = journal(&opened, store, &[("n", Some(b"new"))], vec![receipt(2)]);
        assert!(matches!(told, Err(NotKept::Disk(_))), "{fail:?}: {told:?}");
        let now = opened.buffer.recall_blocking().expect("it opens again");
        assert_eq!(now.store == store, is_same_store, "{fail:?}");
        let note = now.notes.first().map(|(_, note)| note.as_slice());
        let expected: Option<&[u8]> = match (is_same_store, is_there) {
            (false, _) => None,
            (true, true) => Some(b"new"),
            (true, false) => Some(b"old"),
        };
        assert_eq!(note, expected, "{fail:?}");
        keep(&opened, gauge(1.0));
        flush(&opened);
        assert_eq!(head(&opened, Lane::Seal).1, if is_there { 2 } else { 1 }, "{fail:?}: nothing came later");
        if !is_same_store {
            assert_eq!(journal(&opened, store, &[], vec![receipt(3)]), Err(NotKept::OtherStore));
        }
        close(opened);
    }
}

#[test]
fn a_damaged_note_counts_as_missing() {
    let folder = TempDir::new().expect("a folder");
    let (mut store, _) = open_store(&folder).expect("opens");
    store.note("one", Some(b"1"));
    store.note("two", Some(b"2"));
    store.stage_note(b"\xf3two".to_vec(), Some(b"abcd2".to_vec()));
    store.stage_note(b"\xf3three".to_vec(), Some(b"x".to_vec()));
    store.commit().expect("a sound disk");
    assert_eq!(store.notes().expect("readable").notes, [("one".to_owned(), b"1".to_vec())]);
}
