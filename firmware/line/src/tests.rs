//! Two ends and a wire between them on which anything may happen.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::frame::MAX_FRAGMENT;
use crate::noise::public;

const BAUD: u32 = 115_200;
const GATEWAY: Secret = [1; 32];
const SEAL: Secret = [2; 32];

fn line(end: End, own: Secret, peer: Secret, seal: &str, seed: u8) -> Line {
    let pair = Pair { own, peer: public(&peer), seal: seal.into() };
    let mut count = 0;
    let chance = move || {
        count += 1;
        let mut fresh = [seed; 32];
        // Not in the first byte: X25519 ignores some of its bits.
        fresh[8..12].copy_from_slice(&u32::to_le_bytes(count));
        Some(fresh)
    };
    Line::new(end, pair, BAUD, Box::new(chance))
}

fn gateway() -> Line {
    line(End::Gateway, GATEWAY, SEAL, "gongli-07", 0xa0)
}

fn seal() -> Line {
    line(End::Seal, SEAL, GATEWAY, "gongli-07", 0xb0)
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// One end, what it has to send and what it got.
struct Side {
    line: Line,
    to_send: VecDeque<Vec<u8>>,
    got: Vec<Vec<u8>>,
    ups: u32,
    downs: u32,
    accepts: bool,
    is_under_way: bool,
}

impl Side {
    fn new(line: Line) -> Self {
        let to_send = VecDeque::new();
        Self { line, to_send, got: Vec::new(), ups: 0, downs: 0, accepts: true, is_under_way: false }
    }

    /// Does all there is to do; the frames that belong on the wire.
    fn turn(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            if !self.is_under_way
                && let Some(message) = self.to_send.front()
            {
                self.is_under_way = self.line.send(message);
            }
            match self.line.next(now_ms) {
                None => {
                    assert!(self.line.wakes_ms(now_ms) > now_ms, "nothing to do, and no rest");
                    return frames;
                }
                Some(Event::Write(frame)) => frames.push(frame),
                Some(Event::Up) => self.ups += 1,
                Some(Event::Down) => (self.downs, self.is_under_way) = (self.downs + 1, false),
                Some(Event::Delivered) => {
                    self.to_send.pop_front();
                    self.is_under_way = false;
                }
                Some(Event::Message(message)) => {
                    self.got.push(message);
                    if self.accepts {
                        self.line.accept();
                    }
                }
            }
        }
    }
}

struct Wire {
    gateway: Side,
    seal: Side,
    now_ms: u64,
    /// All that was written, in its order.
    tape: Vec<(Way, Vec<u8>)>,
}

impl Wire {
    fn new() -> Self {
        Self::between(gateway(), seal())
    }

    fn between(gateway: Line, seal: Line) -> Self {
        Self { gateway: Side::new(gateway), seal: Side::new(seal), now_ms: 0, tape: Vec::new() }
    }

    /// Runs for so many ms; `meddle` says what comes of each frame.
    fn run(&mut self, ms: u64, mut meddle: impl FnMut(Way, Vec<u8>) -> Vec<u8>) {
        let end_ms = self.now_ms + ms;
        while self.now_ms < end_ms {
            let mut is_quiet = true;
            for frame in self.seal.turn(self.now_ms) {
                self.tape.push((Way::Up, frame.clone()));
                self.gateway.line.hear(&meddle(Way::Up, frame), self.now_ms);
                is_quiet = false;
            }
            for frame in self.gateway.turn(self.now_ms) {
                self.tape.push((Way::Down, frame.clone()));
                self.seal.line.hear(&meddle(Way::Down, frame), self.now_ms);
                is_quiet = false;
            }
            if is_quiet {
                let wakes = [&self.gateway, &self.seal].map(|side| side.line.wakes_ms(self.now_ms));
                self.now_ms = wakes[0].min(wakes[1]).max(self.now_ms + 1);
            }
        }
    }

    fn run_fine(&mut self, ms: u64) {
        self.run(ms, |_, frame| frame);
    }

    fn tape_of(&self, way: Way) -> Vec<u8> {
        self.tape.iter().filter(|(of, _)| *of == way).flat_map(|(_, frame)| frame.clone()).collect()
    }
}

/// A session with three messages each way.
fn told() -> Wire {
    let mut wire = Wire::new();
    for n in 0..3 {
        wire.seal.to_send.push_back(vec![0x10 + n; 700 * usize::from(n) + 1]);
        wire.gateway.to_send.push_back(vec![0x20 + n; 1500 * usize::from(n) + 1]);
    }
    wire.run_fine(1_000);
    assert_eq!((wire.gateway.got.len(), wire.seal.got.len()), (3, 3));
    wire
}

#[test]
fn both_sides_say_what_they_have_and_a_session_lasts() {
    let mut wire = told();
    assert!(wire.gateway.to_send.is_empty() && wire.seal.to_send.is_empty());
    assert_eq!(wire.gateway.got[2], vec![0x12; 1401]);
    assert_eq!(wire.seal.got[2], vec![0x22; 3001]);
    wire.run_fine(600_000);
    assert_eq!((wire.gateway.ups, wire.gateway.downs, wire.seal.ups, wire.seal.downs), (1, 0, 1, 0));
    let counts = [wire.gateway.line.counts(), wire.seal.line.counts()];
    assert_eq!(counts, [Counts::default(); 2]);
}

#[test]
fn what_is_not_accepted_is_not_acknowledged() {
    let mut wire = Wire::new();
    wire.gateway.accepts = false;
    wire.seal.to_send.extend([vec![7; 900], vec![8; 3]]);
    wire.run_fine(60_000);
    assert_eq!((wire.gateway.got.len(), wire.seal.to_send.len()), (1, 2), "a disk that takes its time");
    assert_eq!((wire.gateway.downs, wire.seal.downs), (0, 0), "and is no reason to begin anew");
    wire.gateway.accepts = true;
    wire.gateway.line.accept();
    wire.run_fine(5_000);
    assert_eq!((wire.gateway.got.len(), wire.seal.to_send.len()), (2, 0));
}

#[test]
fn either_end_may_be_started_again() {
    let mut wire = told();
    wire.seal.line = line(End::Seal, SEAL, GATEWAY, "gongli-07", 0xb1);
    wire.seal.to_send.push_back(vec![9; 9]);
    wire.run_fine(SILENCE_MS + 2 * WORD_EVERY_MS + KNOCK_EVERY_MS);
    assert_eq!((wire.gateway.ups, wire.gateway.downs, wire.gateway.got.len()), (2, 1, 4));
    wire.gateway.line = line(End::Gateway, GATEWAY, SEAL, "gongli-07", 0xa1);
    wire.seal.to_send.push_back(vec![10; 9]);
    wire.run_fine(SILENCE_MS);
    assert_eq!((wire.seal.ups, wire.gateway.got.len()), (3, 5), "at once: it knocks when it starts");
}

#[test]
fn a_stranger_gets_no_session() {
    let stranger = [9; 32];
    for (what, gateway, seal) in [
        ("another gateway", line(End::Gateway, stranger, SEAL, "gongli-07", 1), seal()),
        ("another seal", gateway(), line(End::Seal, stranger, GATEWAY, "gongli-07", 1)),
        ("another gateway's seal", gateway(), line(End::Seal, SEAL, stranger, "gongli-07", 1)),
        ("a seal of another name", gateway(), line(End::Seal, SEAL, GATEWAY, "gongli-08", 1)),
    ] {
        let mut wire = Wire::between(gateway, seal);
        wire.seal.to_send.push_back(vec![1]);
        wire.gateway.to_send.push_back(vec![1]);
        wire.run_fine(30_000);
        assert_eq!((wire.gateway.ups, wire.seal.ups), (0, 0), "{what}");
        assert_eq!((wire.gateway.got.len(), wire.seal.got.len()), (0, 0), "{what}");
        assert!(wire.seal.line.counts().handshakes_refused > 10, "{what}");
    }
}

#[test]
fn a_whole_session_played_again_says_nothing_to_anybody() {
    let tape = told();
    // To a seal and a gateway that are started again, and to those that were there.
    for seal in [line(End::Seal, SEAL, GATEWAY, "gongli-07", 0xb1), told().seal.line] {
        let mut side = Side::new(seal);
        let mut answers = side.turn(1_000_000).len();
        side.line.hear(&tape.tape_of(Way::Down), 1_000_000);
        answers += side.turn(1_000_000).len();
        assert!(answers <= 1, "an answer to the knock, which nobody can read");
        assert_eq!((side.ups, side.got.len()), (0, 0));
        assert!(side.line.counts().records_refused > 0);
    }
    let mut side = Side::new(line(End::Gateway, GATEWAY, SEAL, "gongli-07", 0xa1));
    side.turn(0);
    side.line.hear(&tape.tape_of(Way::Up), 0);
    side.turn(0);
    assert_eq!((side.ups, side.got.len()), (0, 0));
    assert_eq!(side.line.counts().handshakes_refused, 1);
}

#[test]
fn a_session_goes_on_while_another_is_played_again_into_it() {
    let tape = told().tape;
    let mut wire = told();
    for (way, frame) in &tape {
        let side = if *way == Way::Up { &mut wire.gateway } else { &mut wire.seal };
        side.line.hear(frame, wire.now_ms);
        wire.seal.to_send.push_back(vec![1; 5]);
        wire.run_fine(600);
    }
    assert_eq!((wire.gateway.ups, wire.gateway.downs, wire.seal.ups, wire.seal.downs), (1, 0, 1, 0));
    assert_eq!((wire.gateway.got.len(), wire.seal.got.len()), (3 + tape.len(), 3));
    // Its keys are the same here, as chance is: only the numbers of its records are past.
    let records =
        |way| tape.iter().filter(|(of, frame)| *of == way && frame[2] == Kind::Record as u8).count();
    let refused = |side: &Side| side.line.counts().records_refused as usize;
    assert_eq!((refused(&wire.gateway), refused(&wire.seal)), (records(Way::Up), records(Way::Down)));
}

#[test]
fn what_is_thrown_back_is_nobodys() {
    let mut wire = Wire::new();
    wire.seal.to_send.push_back(vec![1; 2000]);
    let mut side = Side::new(gateway());
    for now_ms in (0..60_000).step_by(100) {
        for frame in side.turn(now_ms) {
            side.line.hear(&frame, now_ms);
        }
    }
    assert_eq!((side.ups, side.got.len()), (0, 0));
    // And in a session.
    let mut wire = told();
    let tape = wire.tape.clone();
    for (way, frame) in tape {
        let side = if way == Way::Down { &mut wire.gateway } else { &mut wire.seal };
        side.line.hear(&frame, wire.now_ms);
    }
    wire.run_fine(1_000);
    assert_eq!((wire.gateway.got.len(), wire.seal.got.len()), (3, 3));
    assert_eq!((wire.gateway.downs, wire.seal.downs), (0, 0));
}

#[test]
fn a_false_answer_does_not_keep_the_right_one_out() {
    let mut wire = Wire::new();
    let other = Wire::between(gateway(), seal());
    let false_answer = frame::write(Kind::Answer, &other.gateway.line.pair.knock(&[5; 32]).unwrap().1);
    wire.run(2_000, |way, frame| match way {
        Way::Up => [false_answer.clone(), frame::write(Kind::Answer, &[0; 48]), frame].concat(),
        Way::Down => frame,
    });
    assert_eq!((wire.gateway.ups, wire.seal.ups), (1, 1));
}

#[test]
fn a_frame_cut_short_or_altered_anywhere_is_noise_or_refused() {
    let tape = told().tape;
    for (way, frame) in tape.iter().take(6) {
        for at in 0..frame.len() {
            let cut = [&frame[..at], &[0][..]].concat();
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            // Without its last zero it would be whole.
            let cut = if at == frame.len() - 1 { Vec::new() } else { cut };
            for bytes in [cut, flipped] {
                let mut wire = told();
                let side = if *way == Way::Up { &mut wire.gateway } else { &mut wire.seal };
                side.line.hear(&bytes, wire.now_ms);
                wire.run_fine(10);
                assert_eq!((wire.gateway.got.len(), wire.seal.got.len()), (3, 3));
                for Counts { handshakes_refused, records_refused, .. } in
                    [wire.gateway.line.counts(), wire.seal.line.counts()]
                {
                    assert_eq!((handshakes_refused, records_refused), (0, 0), "noise is told from somebody");
                }
            }
        }
    }
}

#[test]
fn records_in_another_order_are_heard_once_or_not_at_all() {
    let mut wire = Wire::new();
    wire.seal.to_send.extend((1..40).map(|n| vec![n; 600]));
    let mut kept: Option<Vec<u8>> = None;
    wire.run(60_000, |way, frame| match way {
        Way::Down => frame,
        // Each comes behind the one after it, and once more.
        Way::Up => {
            let before = kept.replace(frame.clone()).unwrap_or_default();
            [&frame[..], &before, &before].concat()
        }
    });
    assert_eq!(wire.gateway.got, (1..40).map(|n| vec![n; 600]).collect::<Vec<_>>());
}

#[test]
fn a_message_that_is_too_large_ends_the_session() {
    let mut wire = Wire::new();
    wire.gateway.to_send.push_back(vec![1; message::MAX_DOWN + 1]);
    wire.run_fine(2_000);
    assert_eq!(wire.seal.got.len(), 0);
    assert!(wire.seal.downs > 0);
    let mut wire = Wire::new();
    wire.gateway.to_send.push_back(vec![1; message::MAX_DOWN]);
    wire.seal.to_send.push_back(vec![1; message::MAX_UP]);
    wire.run_fine(2_000);
    assert_eq!((wire.seal.got.len(), wire.gateway.got.len(), wire.seal.downs), (1, 1, 0));
}

#[test]
fn knocks_of_a_stranger_cost_a_seal_no_more_than_its_time_allows() {
    let mut seal = seal();
    let (_, knock) = gateway().pair.knock(&[5; 32]).unwrap();
    let flood = frame::write(Kind::Knock, &knock).repeat(100);
    let mut answers = 0;
    for now_ms in (0..10_000).step_by(50) {
        seal.hear(&flood, now_ms);
        while seal.next(now_ms).is_some() {
            answers += 1;
        }
    }
    assert_eq!(answers, 10_000 / ANSWER_EVERY_MS);
}

#[test]
fn no_chance_no_session() {
    let none = || -> Chance { Box::new(|| None) };
    let pair = |own, peer| Pair { own, peer: public(&peer), seal: String::from("gongli-07") };
    let mut wire = Wire::between(Line::new(End::Gateway, pair(GATEWAY, SEAL), BAUD, none()), seal());
    wire.run_fine(5_000);
    assert!(wire.tape.is_empty());
    let mut wire = Wire::between(gateway(), Line::new(End::Seal, pair(SEAL, GATEWAY), BAUD, none()));
    wire.run_fine(5_000);
    assert!(wire.tape.iter().all(|(way, _)| *way == Way::Down) && wire.gateway.ups == 0);
}

/// Bytes never change: a lock that was built in some year speaks to the gateways of all later ones.
#[test]
fn golden_bytes() {
    let mut wire = Wire::new();
    wire.seal.to_send.push_back(vec![1, 2, 3]);
    wire.run_fine(10);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let tape: Vec<String> = wire.tape.iter().map(|(way, frame)| format!("{way:?} {}", hex(frame))).collect();
    assert_eq!(tape.join("\n"), include_str!("golden.txt").trim_end());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_on_the_wire_all_arrives_in_order(
        seed in any::<u64>(), worst in 0_u32..30, chunk in 1_usize..80,
        sizes in proptest::collection::vec(1_usize..3 * MAX_FRAGMENT, 1..12),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut wire = Wire::new();
        for (n, size) in sizes.iter().enumerate() {
            wire.seal.to_send.push_back([&[n as u8][..], &vec![0; *size]].concat());
            wire.gateway.to_send.push_back([&[n as u8][..], &vec![0xff; *size]].concat());
        }
        let meddle = |_: Way, mut frame: Vec<u8>| {
            if random.u32(..100) < worst {
                match random.u32(..5) {
                    0 => frame.clear(),
                    1 => frame = frame.repeat(2),
                    2 => { let at = random.usize(..frame.len()); frame[at] ^= 1 << random.u32(..8); }
                    3 => { let at = random.usize(..frame.len()); frame.remove(at); }
                    _ => { let noise: Vec<u8> = (0..random.usize(..chunk)).map(|_| random.u8(..)).collect(); frame.extend(noise); }
                }
            }
            frame
        };
        wire.run(300_000, meddle);
        // A clean wire at the end: what is left goes now.
        wire.run_fine(60_000);
        for (side, fill) in [(&wire.gateway, 0), (&wire.seal, 0xff)] {
            let mut got = side.got.clone();
            // What was not acknowledged when a session ended comes twice.
            got.dedup();
            let sent: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, size)| [&[n as u8][..], &vec![fill; *size]].concat()).collect();
            prop_assert_eq!(got, sent);
        }
    }

    #[test]
    fn chunks_make_no_difference(chunk in 1_usize..200) {
        let tape: Vec<u8> = told().tape_of(Way::Up);
        let whole = |chunk: usize| {
            let mut reader = Reader::default();
            let frames: Vec<_> = tape.chunks(chunk).flat_map(|bytes| bytes.to_vec()).filter_map(|byte| reader.push(byte)).collect();
            (frames, reader.noise())
        };
        prop_assert_eq!(whole(chunk), whole(tape.len()));
        prop_assert_eq!(whole(chunk).1, 0);
    }

    #[test]
    fn anything_at_all_is_heard_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        for mut line in [gateway(), seal(), told().seal.line] {
            line.hear(&bytes, 5);
            while let Some(event) = line.next(5) {
                prop_assert!(matches!(event, Event::Write(_)));
            }
        }
    }
}
