//! Replays the fuzzer's kept inputs, so that a past find can never come back unnoticed.
#![allow(missing_docs, clippy::unwrap_used)]

use line::noise::{Pair, public};
use line::{End, Event, Line};

#[test]
fn a_stranger_is_heard_without_harm() {
    let mut inputs = 0;
    for entry in std::fs::read_dir("../../benches/fuzz/corpus/line").unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        for (end, own, peer) in [(End::Gateway, [1; 32], [2; 32]), (End::Seal, [2; 32], [1; 32])] {
            let pair = Pair { own, peer: public(&peer), seal: "gongli-07".into() };
            let mut line = Line::new(end, pair, 115_200, Box::new(|| Some([9; 32])));
            line.hear(&input, 0);
            while let Some(event) = line.next(0) {
                assert!(matches!(event, Event::Write(_)), "{event:?} out of nothing");
            }
        }
        inputs += 1;
    }
    assert!(inputs > 0);
}
