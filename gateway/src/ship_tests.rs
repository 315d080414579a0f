use super::*;
use crate::buffer::LaneHead;

/// A machine, its clock and the notes of what it asked for.
struct Rig {
    ship: Ship,
    now_ms: u64,
    heads: Heads,
}

impl Rig {
    fn new(receipts: bool) -> Self {
        let heads = Heads { store: 5, lanes: [LaneHead { floor: 1, next: 1 }; 5] };
        let mut rig =
            Self { ship: Ship::new(Limits { patience_ms: 30_000, receipts }, 1, 0), now_ms: 0, heads };
        rig.ship.heads(0, &heads);
        rig
    }

    /// A machine with a connection.
    fn online(receipts: bool) -> Self {
        let mut rig = Self::new(receipts);
        assert_eq!(rig.actions(), [Action::Connect]);
        rig.connected(u16::MAX);
        rig
    }

    /// A connection stands, and has stood for long: its window is open.
    fn connected(&mut self, receive_maximum: u16) {
        self.ship.connected(self.now_ms, receive_maximum);
        self.ship.line =
            Line::Online { budget: usize::from(receive_maximum), opening: 100, quickest_ms: u64::MAX };
    }

    /// The buffer gains frames.
    fn store(&mut self, lane: Lane, frames: u64) {
        self.heads.lanes[lane as usize].next += frames;
        self.ship.heads(self.now_ms, &self.heads);
    }

    fn actions(&mut self) -> Vec<Action> {
        self.ship.timeout(self.now_ms);
        std::iter::from_fn(|| self.ship.next_action()).collect()
    }

    fn sends(&mut self) -> Vec<Send> {
        std::iter::from_fn(|| self.ship.next_send(self.now_ms)).collect()
    }

    /// As `lane sequence` words.
    fn sent(&mut self) -> String {
        words(&self.sends())
    }

    fn answer(&mut self, send: Send, answer: Answer) -> Vec<Action> {
        self.ship.answered(self.now_ms, send.token, answer);
        self.actions()
    }

    /// Jumps to the machine's next wake-up.
    fn wake(&mut self) {
        let at = self.ship.next_timeout().expect("it waits for something");
        assert!(at >= self.now_ms, "it never looks back");
        self.now_ms = at;
    }
}

fn words(sends: &[Send]) -> String {
    sends.iter().map(|s| format!("{}{}", &s.lane.as_str()[..1], s.sequence)).collect::<Vec<_>>().join(" ")
}

fn forget(lane: Lane, below: u64) -> Action {
    Action::Forget { store: 5, lane, below }
}

#[test]
fn lanes_go_in_their_order_and_a_backlog_leaves_room_for_an_alarm() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 100);
    rig.store(Lane::Health, 2);
    rig.store(Lane::Alarm, 1);
    let sent = rig.sends();
    assert_eq!(words(&sent[..5]), "a1 h1 h2 r1 r2");
    assert_eq!(sent.len(), 3 + 16, "readings fill their window and no more");
    rig.store(Lane::Alarm, 1);
    assert_eq!(rig.sent(), "a2", "a fresh alarm overtakes the backlog at once");
}

#[test]
fn a_backlog_of_alarms_is_sent_before_anything_else() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 100);
    rig.store(Lane::Alarm, 50);
    let mut sent = rig.sends();
    assert_eq!((sent.len(), sent[31].sequence), (32, 32), "{}", words(&sent));
    for expected in ["a33", "a34"] {
        rig.answer(sent.remove(0), Answer::Durable);
        let next = rig.sends();
        assert_eq!(words(&next), expected);
        sent.extend(next);
    }
    while sent[0].sequence < 43 {
        rig.answer(sent.remove(0), Answer::Durable);
        sent.extend(rig.sends());
    }
    assert!(words(&sent).starts_with("a43 a44 a45 a46 a47 a48 a49 a50 r1 r2"), "{}", words(&sent));
}

#[test]
fn alarms_that_ingest_refuses_for_now_hold_nobody_up() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Alarm, 50);
    for send in rig.sends() {
        rig.answer(send, Answer::Later(0x83));
    }
    rig.store(Lane::Reading, 2);
    assert_eq!(rig.sent(), "r1 r2");
}

#[test]
fn a_fresh_connection_opens_its_window_step_by_step() {
    let mut rig = Rig::new(false);
    rig.actions();
    rig.ship.connected(0, u16::MAX);
    rig.store(Lane::Reading, 100);
    let first = rig.sends();
    assert_eq!(words(&first), "r1 r2 r3 r4");
    rig.answer(first[0], Answer::Durable);
    assert_eq!(rig.sent(), "r5 r6", "one for the one that came through, one more");
    rig.store(Lane::Alarm, 2);
    assert_eq!(rig.sent(), "a1 a2", "alarms do not wait for it");
    rig.ship.disconnected(0);
    rig.wake();
    rig.actions();
    rig.ship.connected(rig.now_ms, u16::MAX);
    assert_eq!(rig.sent(), "a1 a2 r2 r3 r4 r5", "and again");
}

#[test]
fn a_narrow_line_keeps_its_queue_short() {
    // 25 KiB take 800 ms, one after the other, and 100 ms of way.
    let mut rig = Rig::new(false);
    rig.actions();
    rig.ship.connected(0, u16::MAX);
    rig.store(Lane::Reading, 1_000);
    let mut line: std::collections::VecDeque<(u64, Send)> = std::collections::VecDeque::new();
    let (mut free_ms, mut most) = (0, 0);
    for round in 0..200 {
        for send in rig.sends() {
            free_ms = rig.now_ms.max(free_ms) + 800;
            line.push_back((free_ms + 100, send));
        }
        if round > 20 {
            most = most.max(line.len());
        }
        let (at_ms, send) = line.pop_front().expect("something flies");
        rig.now_ms = at_ms;
        rig.answer(send, Answer::Durable);
    }
    assert!((1..=3).contains(&most), "{most} frames in the queue: an alarm would wait for them");
    assert!(rig.now_ms <= 200 * (800 + 100), "and the line is hardly ever idle: {} ms", rig.now_ms);
}

#[test]
fn a_small_receive_maximum_still_has_a_reserve() {
    let mut rig = Rig::new(false);
    rig.actions();
    rig.connected(10);
    rig.store(Lane::Reading, 100);
    assert_eq!(rig.sends().len(), 5);
    rig.store(Lane::Alarm, 8);
    assert_eq!(rig.sent(), "a1 a2 a3 a4 a5");
    assert_eq!(rig.sent(), "", "never more than the broker takes");

    let mut rig = Rig::new(false);
    rig.actions();
    rig.connected(1);
    rig.store(Lane::Reading, 2);
    assert_eq!(rig.sent(), "r1", "a broker that takes one at a time is served");
}

#[test]
fn only_the_oldest_is_forgotten_however_answers_arrive() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 3);
    let [one, two, three] = rig.sends()[..] else { panic!("three") };
    assert_eq!(rig.answer(two, Answer::Durable), []);
    assert_eq!(rig.answer(three, Answer::Durable), []);
    assert_eq!(rig.answer(one, Answer::Durable), [forget(Lane::Reading, 4)]);
    assert_eq!(rig.answer(one, Answer::Durable), [], "an answer counts once");
    assert_eq!(rig.ship.figures().durable, 3);
}

#[test]
fn one_stuck_frame_bounds_how_far_the_lane_runs_ahead() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 1000);
    let stuck = rig.sends()[0];
    let mut top = 0;
    for send in rig.sends() {
        rig.answer(send, Answer::Durable);
    }
    for _ in 0..1000 {
        let flying: Vec<u64> = rig.ship.tokens.keys().copied().filter(|t| *t != stuck.token).collect();
        for token in flying {
            rig.ship.answered(rig.now_ms, token, Answer::Durable);
        }
        top = rig.sends().iter().map(|s| s.sequence).max().unwrap_or(top).max(top);
    }
    assert_eq!(top, SPAN, "from 1, so 64 numbers");
    assert_eq!(rig.answer(stuck, Answer::Durable), [forget(Lane::Reading, SPAN + 1)]);
    assert!(!rig.sends().is_empty(), "and on it goes");
}

#[test]
fn a_new_connection_starts_again_at_the_oldest() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 4);
    let sent = rig.sends();
    rig.answer(sent[1], Answer::Durable);
    rig.ship.disconnected(0);
    assert_eq!(rig.actions(), [], "not at once");
    assert_eq!(rig.sent(), "", "nothing is sent into the void");
    rig.wake();
    assert_eq!(rig.actions(), [Action::Connect]);
    rig.ship.connected(rig.now_ms, u16::MAX);
    assert_eq!(rig.answer(sent[0], Answer::Durable), [], "an answer of the old connection is nobody's");
    assert_eq!(rig.sent(), "r1 r3 r4", "what was acknowledged is not sent again");
}

#[test]
fn refused_for_good_is_set_aside_and_the_lane_goes_on() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 2);
    let [one, two] = rig.sends()[..] else { panic!("two") };
    let aside = Action::SetAside { store: 5, lane: Lane::Reading, sequence: 1, reason: 0x99 };
    assert_eq!(rig.answer(one, Answer::Refused(0x99)), [aside, forget(Lane::Reading, 2)]);
    assert_eq!(rig.answer(two, Answer::Durable), [forget(Lane::Reading, 3)]);
    assert_eq!((rig.ship.figures().refused, rig.ship.figures().durable), (1, 1));
}

#[test]
fn a_frame_that_is_gone_does_not_hold_the_lane() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Health, 1);
    let one = rig.sends()[0];
    assert_eq!(rig.answer(one, Answer::Gone), [forget(Lane::Health, 2)]);
    assert_eq!(rig.ship.figures().durable, 0);
}

#[test]
fn refused_for_now_comes_again_later_and_ever_later() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 1);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let [send] = rig.sends()[..] else { panic!("one") };
        rig.answer(send, Answer::Later(0x97));
        assert_eq!(rig.sent(), "", "not at once");
        let before = rig.now_ms;
        rig.wake();
        assert_eq!(rig.actions(), []);
        pauses.push(rig.now_ms - before);
    }
    assert!(pauses[0] <= 250 && (15_000..=30_000).contains(&pauses[11]), "{pauses:?}");
    rig.store(Lane::Alarm, 1);
    assert_eq!(rig.sent(), "a1 r1", "another lane never waits for it");
}

#[test]
fn silence_throws_the_client_away() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Alarm, 1);
    rig.sends();
    rig.wake();
    assert_eq!(rig.now_ms, 30_000);
    assert_eq!(rig.actions(), [Action::Drop(Why::Unacknowledged)]);
    assert!(!rig.ship.figures().online);
    assert_eq!(rig.ship.oldest_unacked_ms(rig.now_ms), 30_000);
    rig.wake();
    assert_eq!(rig.actions(), [Action::Connect]);
    rig.wake();
    assert_eq!(
        rig.actions(),
        [Action::Drop(Why::ConnectTooLong)],
        "a connection that never stands is given up too"
    );
}

#[test]
fn back_off_grows_has_jitter_and_ends_with_an_acknowledgement() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 1);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        rig.sends();
        rig.ship.disconnected(rig.now_ms);
        rig.ship.disconnected(rig.now_ms);
        let before = rig.now_ms;
        rig.wake();
        pauses.push(rig.now_ms - before);
        assert_eq!(rig.actions(), [Action::Connect]);
        // A connection that stands proves nothing: only an acknowledgement does.
        rig.ship.connected(rig.now_ms, u16::MAX);
    }
    assert!(pauses[0] <= 500 && (15_000..=30_000).contains(&pauses[9]), "{pauses:?}");
    let other: Vec<u64> =
        (0..8).map(|seed| backoff(&mut fastrand::Rng::with_seed(seed), CONNECT_BACKOFF_MS, 6)).collect();
    assert!(other.windows(2).any(|w| w[0] != w[1]), "a district does not come back together: {other:?}");
    let send = rig.sends()[0];
    rig.answer(send, Answer::Durable);
    rig.ship.disconnected(rig.now_ms);
    let before = rig.now_ms;
    rig.wake();
    assert!(rig.now_ms - before <= 500);
}

#[test]
fn with_receipts_the_acknowledgement_of_the_broker_is_not_enough() {
    let mut rig = Rig::online(true);
    rig.store(Lane::Reading, 3);
    let sent = rig.sends();
    for send in &sent {
        assert_eq!(rig.answer(*send, Answer::Durable), [], "the broker has it, no more");
    }
    let receipt = |sequences: &[u64], verdict| Receipt {
        store: 5,
        lane: Lane::Reading,
        sequences: sequences.into(),
        verdict,
    };
    rig.ship.receipt(0, &Receipt { store: 6, ..receipt(&[1], Verdict::Durable) });
    assert_eq!(rig.actions(), [], "another store's numbers mean nothing");
    rig.ship.receipt(0, &receipt(&[1, 99], Verdict::Durable));
    assert_eq!(rig.actions(), [forget(Lane::Reading, 2)]);
    rig.ship.receipt(0, &receipt(&[2], Verdict::Refused));
    let aside = Action::SetAside { store: 5, lane: Lane::Reading, sequence: 2, reason: 0 };
    assert_eq!(rig.actions(), [aside, forget(Lane::Reading, 3)]);

    rig.wake();
    assert_eq!(rig.actions(), [], "the broker lives: no new client");
    assert_eq!(rig.sent(), "");
    rig.wake();
    assert_eq!(rig.actions(), []);
    assert_eq!(rig.sent(), "r3", "what has no receipt is sent again, with patience");
    // A receipt for an earlier sending counts as well.
    rig.ship.receipt(rig.now_ms, &receipt(&[3], Verdict::Durable));
    assert_eq!(rig.actions(), [forget(Lane::Reading, 4)]);
}

#[test]
fn a_missing_receipt_holds_up_nothing_fresh() {
    let mut rig = Rig::online(true);
    rig.connected(1);
    rig.store(Lane::Alarm, 1);
    let send = rig.sends()[0];
    rig.store(Lane::Alarm, 1);
    assert_eq!(rig.sent(), "", "the broker takes one at a time");
    rig.answer(send, Answer::Durable);
    let second = rig.sends();
    assert_eq!(words(&second), "a2", "what waits for its receipt takes no slot of the broker's");
    rig.answer(second[0], Answer::Durable);

    rig.now_ms += 30_000;
    assert_eq!(rig.actions(), [], "both are overdue");
    rig.store(Lane::Alarm, 1);
    assert_eq!(rig.sent(), "a3", "the others have to wait, this one has not");
    rig.wake();
    assert_eq!(rig.actions(), []);
    assert_eq!(rig.sent(), "", "its slot is taken");
    assert!(rig.ship.next_timeout() > Some(rig.now_ms), "a pause that is over does not wake it");
}

#[test]
fn the_quota_moves_the_floor_under_frames_in_flight() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 100);
    let sent = rig.sends();
    rig.heads.lanes[Lane::Reading as usize].floor = 11;
    rig.store(Lane::Reading, 0);
    assert_eq!(rig.answer(sent[0], Answer::Durable), [], "what was dropped needs no forgetting");
    assert_eq!(rig.sent(), "r17 r18 r19 r20 r21 r22 r23 r24 r25 r26");
    assert_eq!(rig.answer(sent[10], Answer::Durable), [forget(Lane::Reading, 12)]);
}

#[test]
fn a_fresh_store_voids_all_numbers() {
    let mut rig = Rig::online(false);
    rig.store(Lane::Reading, 5);
    let old = rig.sends()[0];
    rig.heads = Heads { store: 6, lanes: [LaneHead { floor: 1, next: 1 }; 5] };
    rig.store(Lane::Reading, 1);
    assert_eq!(
        rig.answer(old, Answer::Durable),
        [],
        "an answer to the old store's frame 1 is not one to the new's"
    );
    let new = rig.sends()[0];
    assert_eq!(new.sequence, 1);
    assert_eq!(
        rig.answer(new, Answer::Durable),
        [Action::Forget { store: 6, lane: Lane::Reading, below: 2 }]
    );
}

/// Random weather on the line, random answers: whatever happens, every frame ends settled exactly once, and the
/// floor never passes one that was not.
#[test]
fn any_weather_ends_with_everything_settled() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new(false);
        let mut settled = [const { BTreeSet::<u64>::new() }; 5];
        let mut floors = [1_u64; 5];
        let mut flying: Vec<Send> = Vec::new();
        for step in 0..2_000 {
            let calm = step > 1_500;
            if !calm && random.u8(..) < 20 {
                rig.store(Lane::ALL[random.usize(..5)], random.u64(1..10));
            }
            for action in rig.actions() {
                match action {
                    Action::Connect => {
                        if calm || random.bool() {
                            rig.ship.connected(rig.now_ms, random.u16(1..50));
                        } else {
                            rig.ship.disconnected(rig.now_ms);
                        }
                    }
                    Action::Drop(_) => flying.clear(),
                    Action::Forget { lane, below, .. } => {
                        assert!(
                            (floors[lane as usize]..below).all(|s| settled[lane as usize].contains(&s)),
                            "seed {seed}"
                        );
                        floors[lane as usize] = below;
                        rig.heads.lanes[lane as usize].floor = below;
                    }
                    Action::SetAside { .. } => {}
                }
            }
            flying.extend(rig.sends());
            if !calm && random.u8(..) < 5 {
                rig.ship.disconnected(rig.now_ms);
                flying.clear();
            }
            while !flying.is_empty() && (calm || random.u8(..) < 100) {
                let send = flying.swap_remove(random.usize(..flying.len()));
                let answer = match random.u8(..) {
                    0..10 => Answer::Refused(0x99),
                    10..30 if !calm => Answer::Later(0x83),
                    _ => Answer::Durable,
                };
                if !matches!(answer, Answer::Later(_)) {
                    assert!(settled[send.lane as usize].insert(send.sequence), "seed {seed}: settled twice");
                }
                rig.ship.answered(rig.now_ms, send.token, answer);
            }
            match rig.ship.next_timeout() {
                Some(at) if calm || random.bool() => rig.now_ms = rig.now_ms.max(at),
                _ => rig.now_ms += random.u64(..100),
            }
        }
        for lane in Lane::ALL {
            assert_eq!(
                floors[lane as usize], rig.heads.lanes[lane as usize].next,
                "seed {seed}: {lane:?} is settled"
            );
        }
    }
}
