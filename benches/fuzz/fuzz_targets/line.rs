//! The serial line of a seal: whatever comes over the wire, to both ends. The first byte says how a session stands and how
//! the bytes come; behind each of them a good frame is still understood.
#![no_main]
use libfuzzer_sys::fuzz_target;
use line::frame::{Kind, Reader, write};
use line::message::{Down, Up};
use line::noise::{Pair, Secret, public};
use line::{End, Event, Line};

const OWN: [Secret; 2] = [[1; 32], [2; 32]];

fn end(end: End) -> Line {
    let at = usize::from(end == End::Seal);
    let pair = Pair { own: OWN[at], peer: public(&OWN[1 - at]), seal: "gongli-07".into() };
    let mut count = 0_u8;
    Line::new(end, pair, 115_200, Box::new(move || {
        count = count.wrapping_add(1);
        Some([[at as u8 + 3; 16], [count; 16]].concat().try_into().unwrap())
    }))
}

/// What an end has to write; nothing else may come of what a stranger says.
fn written(line: &mut Line, now_ms: u64, is_strange: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(event) = line.next(now_ms) {
        match event {
            Event::Write(frame) => bytes.extend(frame),
            event => assert!(!is_strange, "{event:?} out of nothing"),
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    assert!(Up::read(bytes).is_none_or(|up| up.to_bytes() == bytes));
    assert!(Down::read(bytes).is_none_or(|down| down.to_bytes() == bytes));

    let mut reader = Reader::default();
    for &byte in bytes {
        reader.push(byte);
    }
    let found: Vec<_> = write(Kind::Record, &bytes[..bytes.len().min(512)]).into_iter().filter_map(|byte| reader.push(byte)).collect();
    assert!(found.contains(&(Kind::Record, bytes[..bytes.len().min(512)].to_vec())));

    let (mut gateway, mut seal) = (end(End::Gateway), end(End::Seal));
    if choice & 1 == 1 {
        for _ in 0..3 {
            let down = written(&mut gateway, 0, false);
            seal.hear(&down, 0);
            let up = written(&mut seal, 0, false);
            gateway.hear(&up, 0);
        }
        written(&mut gateway, 0, false);
        assert!(gateway.is_up() && seal.is_up());
    }
    // As it is, and as the body of frames that the noise has not hurt.
    let framed = bytes.chunks(100).flat_map(|body| write([Kind::Knock, Kind::Answer, Kind::Record][usize::from(choice >> 1) % 3], body)).collect();
    for said in [bytes.to_vec(), framed] {
        for line in [&mut gateway, &mut seal] {
            let was_up = line.is_up();
            line.hear(&said, 1_000);
            written(line, 1_000, true);
            assert_eq!(line.is_up(), was_up);
        }
    }
});
