//! A seal of things that a test moves, breaks and kills, and the authority it talks to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ::seal::keys::digest;
use ::seal::receipt::{Outcome, Receipt};
use boards::seal::{CounterError, HandsError, Moment as When, Part, Picture};
use serde_json::Value;

use super::*;
use crate::buffer::{NotKept, Notes};
use crate::seal::authority::{self, Authority, Heard};
use crate::seal::desk::Request;
use crate::seal::journal::{State, state};

const NOON_S: u64 = 1_790_000_000;

/// How something fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fails {
    /// Nothing is written.
    Before,
    /// All is written, and nobody knows.
    After,
}

/// The world around the driver.
struct World {
    now: Now,
    is_open: bool,
    opened: u32,
    felt: VecDeque<Feeling>,
    /// What is felt once it opens.
    on_open: Vec<Feeling>,
    /// Whether it says that it has closed.
    says_closed: bool,
    ready: Result<(), HandsError>,
    opens: Result<(), HandsError>,
    counter: u64,
    counts: bool,
    /// Whether the camera gives pictures before and after; `None`: it is silent.
    pictures: [Option<bool>; 2],
    seen: VecDeque<(u64, Option<Picture>)>,
    notes: BTreeMap<String, Vec<u8>>,
    frames: Vec<Payload>,
    writes: u32,
    /// The write of this number fails.
    fails: Option<(u32, Fails)>,
    /// From the write of this number on nothing happens any more: the power has gone.
    cut: Option<u32>,
    questions: u8,
}

impl World {
    fn is_dead(&self) -> bool {
        self.cut.is_some_and(|cut| self.writes >= cut)
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn look(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl Hands for Shared {
    fn ready(&self) -> Result<(), HandsError> {
        self.look().ready.clone()
    }

    fn open(&mut self, _: u64) -> Result<(), HandsError> {
        let mut world = self.look();
        world.opens.clone()?;
        assert!(!world.is_open);
        if !world.is_dead() {
            (world.is_open, world.opened) = (true, world.opened + 1);
            let felt = world.on_open.clone();
            world.felt.extend(felt);
        }
        Ok(())
    }

    fn close(&mut self, _: u64) {
        let mut world = self.look();
        world.is_open = false;
        if world.says_closed {
            world.felt.push_back(Feeling::Closed);
        }
    }

    fn feel(&mut self, _: u64, into: &mut Vec<Feeling>) {
        // One at a time, so that each is told at a step of its own.
        into.extend(self.look().felt.pop_front());
    }
}

impl Counter for Shared {
    fn read(&mut self) -> Result<u64, CounterError> {
        Ok(self.look().counter)
    }

    fn advance_to(&mut self, to: u64) -> Result<(), CounterError> {
        let mut world = self.look();
        assert!(to == world.counter + 1 || to == world.counter, "by one only");
        if !world.counts {
            return Err(CounterError::Back { shows: world.counter, asked: to });
        }
        if !world.is_dead() {
            world.counter = to;
        }
        Ok(())
    }
}

impl Eyes for Shared {
    fn begin(&mut self, token: u64, moment: When) -> bool {
        let mut world = self.look();
        let picture = |byte: u8| {
            let mut bytes = vec![byte; 40_000];
            bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
            bytes.extend([0xff, 0xd9]);
            Picture::new(bytes).unwrap()
        };
        let (at, byte) = if moment == When::Before { (0, 1) } else { (1, 2) };
        if let Some(has_taken) = world.pictures[at] {
            world.seen.push_back((token, Some(picture(byte)).filter(|_| has_taken)));
        }
        true
    }

    fn seen(&mut self) -> Option<(u64, Option<Picture>)> {
        self.look().seen.pop_front()
    }
}

impl Journal for Shared {
    fn read(&mut self) -> Result<State, NotKept> {
        let notes = self.look().notes.clone().into_iter().collect();
        Ok(state(Notes { store: 1, notes }))
    }

    fn write(&mut self, notes: Vec<Note>, payloads: Vec<Payload>) -> Result<(), NotKept> {
        let mut world = self.look();
        if world.is_dead() {
            return Ok(());
        }
        world.writes += 1;
        let fails = world.fails.filter(|(at, _)| *at == world.writes).map(|(_, how)| how);
        if fails != Some(Fails::Before) {
            for (name, note) in notes {
                match note {
                    Some(note) => drop(world.notes.insert(name, note)),
                    None => drop(world.notes.remove(&name)),
                }
            }
            world.frames.extend(payloads);
        }
        fails.map_or(Ok(()), |_| Err(NotKept::Disk("bad".into())))
    }
}

/// A seal, its world, and the authority.
struct Bench {
    world: Shared,
    driver: Driver,
    authority: Authority,
    /// Frames that have reached the authority.
    shipped: usize,
    receipts: Vec<Receipt>,
    pictures: Vec<Digest>,
}

type Digest = ::seal::keys::Digest;

fn driver(world: &Shared) -> Driver {
    let (clock, random) = (world.clone(), world.clone());
    let tools = Tools {
        hands: Box::new(world.clone()),
        eyes: Some(Box::new(world.clone())),
        counter: Box::new(world.clone()),
        reader: None,
        journal: Box::new(world.clone()),
        key: Box::new(authority::key(99)),
        roots: authority::roots(),
        people: People::default(),
        position: None,
        hello_ms: 300_000,
        random: Box::new(move || {
            let mut world = random.look();
            world.questions += 1;
            Some(authority::id(world.questions))
        }),
        now: Box::new(move || clock.look().now),
    };
    Driver::new(tools, authority::id(200))
}

impl Bench {
    fn start() -> Self {
        let now = Now { mono_ms: 0, at_s: NOON_S, time: TimeQuality::Synced };
        let world = Shared(Arc::new(Mutex::new(World {
            now,
            is_open: false,
            opened: 0,
            felt: VecDeque::new(),
            on_open: vec![Feeling::Pressed],
            says_closed: true,
            ready: Ok(()),
            opens: Ok(()),
            counter: 0,
            counts: true,
            pictures: [Some(true); 2],
            seen: VecDeque::new(),
            notes: BTreeMap::new(),
            frames: Vec::new(),
            writes: 0,
            fails: None,
            cut: None,
            questions: 0,
        })));
        let authority = Authority::new(authority::key(99).public(), NOON_S);
        let driver = driver(&world);
        Self { world, driver, authority, shipped: 0, receipts: Vec::new(), pictures: Vec::new() }
    }

    /// One that has heard from the authority and holds a grant with photographs.
    fn granted() -> Self {
        let mut bench = Self::start();
        bench.issue(1);
        bench.live(5_000);
        assert_eq!(bench.driver.grants.all().len(), 1);
        bench
    }

    fn issue(&mut self, sequence: u16) {
        let evidence = ::seal::grant::Evidence { before: true, after: true, person: false };
        let grant = ::seal::grant::Grant { evidence, ..self.authority.plain(sequence) };
        self.authority.issue(&grant);
        self.driver.listen(&[]);
    }

    /// Starts it again on what its journal holds.
    fn restart(&mut self) {
        {
            let mut world = self.world.look();
            (world.cut, world.is_open) = (None, false);
            world.felt.clear();
            world.seen.clear();
        }
        self.driver = driver(&self.world);
    }

    /// Lives for so long, with a network.
    fn live(&mut self, ms: u64) {
        self.live_with(ms, true);
    }

    fn live_with(&mut self, ms: u64, is_online: bool) {
        for _ in 0..ms.div_ceil(100) {
            {
                let mut world = self.world.look();
                world.now.mono_ms += 100;
                world.now.at_s = NOON_S + world.now.mono_ms / 1000;
                self.authority.now_s = world.now.at_s;
            }
            self.driver.turn(is_online);
            if is_online {
                self.ship();
            }
        }
    }

    fn ship(&mut self) {
        let frames: Vec<Payload> = self.world.look().frames[self.shipped..].to_vec();
        self.shipped += frames.len();
        for frame in frames {
            match frame {
                Payload::Envelopes(envelopes) => {
                    for envelope in envelopes.envelopes {
                        match self.authority.read(&envelope) {
                            Heard::Receipt(receipt) => self.receipts.push(receipt),
                            Heard::Hello(hello) => {
                                for said in self.authority.answers(&hello) {
                                    self.driver.listen(&said);
                                }
                            }
                        }
                    }
                }
                Payload::Picture(part) => self.pictures.push(part.digest.into()),
                other => panic!("{other:?}"),
            }
        }
    }

    fn wish(&mut self, request: Request) -> oneshot::Receiver<Value> {
        let (reply, answer) = oneshot::channel();
        self.driver.grant_wish(Wish::Desk(request, reply));
        answer
    }

    /// Asks for a use of the only grant, and lives until it has ended; the word of the answer.
    fn stamp(&mut self) -> String {
        let mut answer = self.wish(Request::Stamp { grant: String::new(), shown: None });
        for _ in 0..600 {
            if let Ok(answer) = answer.try_recv() {
                return word(&answer);
            }
            self.live_with(100, false);
        }
        panic!("it never ends");
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.receipts.iter().map(|receipt| receipt.outcome).collect()
    }
}

fn word(answer: &Value) -> String {
    answer["outcome"].as_str().or(answer["refused"].as_str()).unwrap_or("?").to_owned()
}

#[test]
fn it_stamps_as_often_as_granted_and_tells_all_of_it() {
    let mut bench = Bench::granted();
    assert_eq!([bench.stamp(), bench.stamp()], ["stamped", "stamped"]);
    assert_eq!(bench.stamp(), "unknown_grant", "it is not held any more");
    // Whoever brings it again.
    let (_, grant) = bench.authority.grants[0].clone();
    let mut answer = bench.wish(Request::Present { grant: super::super::hex(&grant) });
    assert_eq!(word(&answer.try_recv().unwrap()), "replayed");
    bench.live(1_000);
    assert_eq!(bench.outcomes(), [Outcome::Stamped, Outcome::Stamped, Outcome::Refused]);
    for receipt in &bench.receipts[..2] {
        for picture in [receipt.before, receipt.after] {
            assert!(bench.pictures.contains(&picture.unwrap()), "each photograph is on its way");
        }
    }
    let world = bench.world.look();
    assert_eq!((world.opened, world.is_open, world.counter), (2, false, 2));
}

#[test]
fn whatever_goes_wrong_it_is_closed_and_nothing_is_used_twice() {
    type Story = (&'static str, fn(&mut World), &'static str, u32, u64, &'static [Outcome]);
    // What goes wrong; what is answered; whether it was opened, and how many uses are spent; how the receipts say it ended.
    let stories: [Story; 15] = [
        ("no picture before", |w| w.pictures[0] = Some(false), "photograph", 0, 0, &[Outcome::Refused]),
        ("a silent camera", |w| w.pictures[0] = None, "photograph", 0, 0, &[Outcome::Refused]),
        ("no picture after", |w| w.pictures[1] = None, "stamped", 1, 1, &[Outcome::Stamped]),
        (
            "an open cover",
            |w| w.ready = Err(HandsError::NotWhole(Part::Cover)),
            "tampered",
            0,
            0,
            &[Outcome::Refused],
        ),
        (
            "a lock that is not closed",
            |w| w.ready = Err(HandsError::NotClosed),
            "busy",
            0,
            0,
            &[Outcome::Refused],
        ),
        ("spent is not written", |w| w.fails = Some((w.writes + 1, Fails::Before)), "journal", 0, 0, &[]),
        (
            "spent is written unknown",
            |w| w.fails = Some((w.writes + 1, Fails::After)),
            "journal",
            0,
            1,
            &[Outcome::Unknown],
        ),
        ("a counter that does not count", |w| w.counts = false, "not_pressed", 0, 1, &[Outcome::NotPressed]),
        (
            "a lock that does not open",
            |w| w.opens = Err(HandsError::Lock("?".into())),
            "not_pressed",
            0,
            1,
            &[Outcome::NotPressed],
        ),
        ("nobody presses", |w| w.on_open.clear(), "not_pressed", 1, 1, &[Outcome::NotPressed]),
        ("it lets go", |w| w.on_open = vec![Feeling::LetGo], "not_pressed", 1, 1, &[Outcome::NotPressed]),
        (
            "pressed twice",
            |w| w.on_open = vec![Feeling::Pressed; 2],
            "pressed_again",
            1,
            1,
            &[Outcome::PressedAgain],
        ),
        ("it does not close", |w| w.says_closed = false, "not_closed", 1, 1, &[Outcome::NotClosed]),
        (
            "touched while open",
            |w| w.on_open = vec![Feeling::Tampered(Part::Loop)],
            "tampered",
            1,
            1,
            &[Outcome::Tampered],
        ),
        (
            "done is not written",
            |w| w.fails = Some((w.writes + 2, Fails::Before)),
            "journal",
            1,
            1,
            &[Outcome::Unknown],
        ),
    ];
    for (what, deed, answer, opened, spent, outcomes) in stories {
        let mut bench = Bench::granted();
        deed(&mut bench.world.look());
        assert_eq!(bench.stamp(), answer, "{what}");
        assert!(!bench.world.look().is_open, "{what}: it is closed");
        bench.live(10_000);
        assert_eq!(bench.outcomes(), outcomes, "{what}");
        assert_eq!((bench.world.look().opened, bench.driver.memory.counter), (opened, spent), "{what}");
        let is_locked = bench.driver.memory.tampered > 0;
        assert_eq!(is_locked, ["not_closed", "tampered"].contains(&answer) && opened > 0, "{what}");
        assert_eq!(bench.driver.grants.all().is_empty(), is_locked, "{what}: what is locked forgets grants");
    }
}

#[test]
fn the_power_may_go_after_any_write() {
    let mut lost = 0;
    for cut in 0..12 {
        let mut bench = Bench::granted();
        {
            let mut world = bench.world.look();
            world.cut = Some(world.writes + cut);
        }
        for _ in 0..2 {
            let _answer = bench.wish(Request::Stamp { grant: String::new(), shown: None });
            bench.live_with(3_000, false);
        }
        bench.restart();
        bench.live(5_000);
        while bench.stamp() == "stamped" {
            bench.live(3_000);
        }
        bench.live(5_000);
        let stamped = bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Stamped).count();
        let spent = bench.outcomes().iter().filter(|outcome| **outcome != Outcome::Refused).count();
        assert_eq!(spent, 2, "cut at {cut}: every use has its receipt, {:?}", bench.outcomes());
        assert!(bench.world.look().opened <= 2, "cut at {cut}");
        assert_eq!(bench.world.look().counter, 2, "cut at {cut}");
        lost += 2 - stamped;
    }
    assert_eq!(lost, 2, "of each use, one cut falls between spent and open");
}

#[test]
fn who_has_forgotten_everything_waits_for_the_authority() {
    let mut bench = Bench::granted();
    assert_eq!(bench.stamp(), "stamped");
    bench.live(1_000);
    bench.world.look().notes.clear();
    bench.restart();
    bench.live_with(1_000, false);
    // Everything but the authority's answer comes back: somebody has copied it.
    bench.driver.listen(&bench.authority.rules());
    bench.driver.listen(&bench.authority.grants[0].1.clone());
    assert_eq!(bench.stamp(), "lease_hours");
    assert_eq!(
        bench.world.look().frames.len(),
        bench.shipped,
        "no receipt with a number that was there before"
    );
    bench.live(5_000);
    assert_eq!((bench.driver.memory.counter, bench.driver.memory.receipts), (1, 1), "told by the answer");
    assert_eq!(bench.stamp(), "unknown_grant", "what was granted before is over");
    bench.issue(300);
    bench.live(5_000);
    assert_eq!(bench.stamp(), "stamped");
    bench.live(1_000);
    assert_eq!(bench.outcomes(), [Outcome::Stamped, Outcome::Stamped]);
}

#[test]
fn a_press_while_it_is_closed_locks_it_until_somebody_has_looked() {
    let mut bench = Bench::granted();
    bench.world.look().felt.extend([Feeling::Pressed, Feeling::Tampered(Part::Loop)]);
    bench.live(5_000);
    assert_eq!(bench.outcomes(), [Outcome::Tampered], "both are one tampering");
    assert_eq!(bench.stamp(), "tampered", "the authority has sent the grant again");
    bench.authority.contact.cleared = 1;
    bench.driver.listen(&[]);
    bench.live(5_000);
    assert_eq!(bench.stamp(), "stamped");
}

#[test]
fn without_contact_it_works_for_as_long_as_its_lease() {
    let mut bench = Bench::granted();
    bench.driver.rules.as_mut().unwrap().1.lease.most_s = 60;
    bench.live_with(30_000, false);
    assert_eq!(bench.stamp(), "stamped");
    bench.live_with(30_000, false);
    assert_eq!(bench.stamp(), "lease_hours");
    let hellos = bench.world.look().frames[bench.shipped..].len();
    bench.live_with(600_000, false);
    assert_eq!(bench.world.look().frames[bench.shipped..].len(), hellos, "nobody is asked who cannot hear");
    bench.driver.listen(&[]);
    bench.live(1_000);
    assert_eq!(bench.stamp(), "stamped");
}

#[test]
fn a_picture_of_the_use_before_is_nobodys() {
    let mut bench = Bench::granted();
    bench.world.look().pictures[1] = None;
    assert_eq!(bench.stamp(), "stamped");
    let late = bench.driver.token;
    let mut answer = bench.wish(Request::Stamp { grant: String::new(), shown: None });
    let mut bytes = vec![9; 99];
    bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
    bytes.extend([0xff, 0xd9]);
    let picture = Picture::new(bytes.clone()).unwrap();
    bench.world.look().seen.push_front((late, Some(picture)));
    bench.live(20_000);
    assert_eq!(word(&answer.try_recv().unwrap()), "stamped");
    assert!(bench.receipts.iter().all(|receipt| receipt.before != Some(digest(&[&bytes]))));
}

#[test]
fn one_at_a_time_and_so_many_refusals_an_hour() {
    let mut bench = Bench::granted();
    bench.world.look().on_open.clear();
    let mut first = bench.wish(Request::Stamp { grant: String::new(), shown: None });
    bench.live(500);
    let mut second = bench.wish(Request::Stamp { grant: String::new(), shown: None });
    assert_eq!(word(&second.try_recv().unwrap()), "busy");
    bench.live(PRESS_MS);
    assert_eq!(word(&first.try_recv().unwrap()), "not_pressed");
    bench.live(5_000);
    for _ in 0..100 {
        let mut answer = bench.wish(Request::Present { grant: "00".into() });
        assert_eq!(word(&answer.try_recv().unwrap()), "malformed");
    }
    bench.live(5_000);
    let refused = bench.outcomes().iter().filter(|outcome| **outcome == Outcome::Refused).count();
    assert_eq!(refused as u32, super::super::papers::REFUSALS_PER_HOUR);
}

#[test]
fn a_stop_closes_it_and_spends_what_was_spent() {
    let mut bench = Bench::granted();
    bench.world.look().on_open.clear();
    let _answer = bench.wish(Request::Stamp { grant: String::new(), shown: None });
    bench.live(500);
    assert!(bench.world.look().is_open);
    bench.driver.hurry();
    bench.live(1_000);
    assert!(!bench.world.look().is_open);
    assert_eq!(bench.outcomes(), [Outcome::NotPressed]);
}

#[test]
fn the_authority_locks_revokes_and_unlocks() {
    let mut bench = Bench::granted();
    bench.authority.contact.lock = true;
    bench.driver.listen(&[]);
    bench.live(5_000);
    assert_eq!(bench.stamp(), "locked");
    bench.authority.contact.lock = false;
    bench.authority.contact.epoch = 1;
    bench.authority.contact.revoked = vec![(authority::id(1), NOON_S + 86_400)];
    bench.driver.listen(&[]);
    bench.live(5_000);
    assert_eq!(bench.stamp(), "unknown_grant", "what was taken back is not held any more");
    let (_, grant) = bench.authority.grants[0].clone();
    let mut answer = bench.wish(Request::Present { grant: super::super::hex(&grant) });
    assert_eq!(word(&answer.try_recv().unwrap()), "revoked");
    bench.restart();
    bench.live(5_000);
    assert!(bench.driver.memory.is_revoked(&authority::id(1)), "over a start too");
}

/// A seal that holds a grant which a deputy has approved, whose time ends so many seconds after noon.
fn deputed(until_s: u64) -> (Bench, Id) {
    let mut bench = Bench::start();
    let id = bench.authority.depute(100, NOON_S + until_s);
    let evidence = ::seal::grant::Evidence { before: true, after: true, person: false };
    let grant = ::seal::grant::Grant { evidence, ..bench.authority.plain(1) };
    bench.authority.issue_by_deputy(&grant);
    bench.live(5_000);
    assert_eq!(bench.driver.grants.all().len(), 1);
    (bench, id)
}

fn holds_delegation(bench: &Bench) -> bool {
    let holds = bench.driver.rules.as_ref().is_some_and(|(_, trust)| !trust.deputed.is_empty());
    let is_kept = bench.world.look().notes.keys().any(|name| name.starts_with("seal/deputy/"));
    assert_eq!(holds, is_kept, "what is held is kept over a start");
    holds
}

#[test]
fn a_deputy_counts_while_the_delegation_holds() {
    let (mut bench, id) = deputed(3_600);
    assert_eq!(bench.stamp(), "stamped");
    bench.restart();
    bench.live(5_000);
    assert!(holds_delegation(&bench), "over a start too");
    bench.authority.contact.epoch = 1;
    bench.authority.contact.revoked = vec![(id, NOON_S + 3_600)];
    bench.driver.listen(&[]);
    bench.live(5_000);
    assert_eq!(bench.stamp(), "deputy", "withdrawn");
    assert!(!holds_delegation(&bench), "and let go, though it is handed again");

    let (mut bench, _) = deputed(60);
    bench.live_with(60_000, false);
    assert_eq!(bench.stamp(), "deputy", "its time is over, and nobody had to tell");
    assert!(!holds_delegation(&bench));

    let (mut bench, _) = deputed(3_600);
    for number in 101..120 {
        bench.authority.depute(number, NOON_S + 3_600);
    }
    bench.driver.listen(&[]);
    bench.live(5_000);
    let held = bench.driver.rules.as_ref().unwrap().1.deputed.len();
    assert_eq!(held, MAX_HELD, "so many, and no more");
    // By rules that want no deputies nothing is left of them.
    bench.driver.rules.as_mut().unwrap().1.rules[0].may_be_delegated = false;
    bench.live(61_000);
    assert!(!holds_delegation(&bench));
}

#[test]
fn rules_only_go_forward_and_stay_over_a_start() {
    let mut bench = Bench::granted();
    let number = |bench: &Bench| bench.driver.rules.as_ref().map(|(policy, _)| policy.number);
    let old = bench.authority.rules();
    bench.authority.policy = 3;
    let new = bench.authority.rules();
    let mut forged = new.clone();
    forged[60] ^= 1;
    for (what, said, expected) in [("forged", forged, 1), ("new", new, 3), ("old", old, 3)] {
        bench.driver.listen(&said);
        assert_eq!(number(&bench), Some(expected), "{what}");
    }
    bench.restart();
    bench.live_with(100, false);
    assert_eq!(number(&bench), Some(3));
    assert_eq!(bench.stamp(), "policy", "a grant of other rules");
}

#[test]
fn where_no_time_service_reaches_the_authority_says_what_time_it_is() {
    let mut bench = Bench::start();
    bench.world.look().now.time = TimeQuality::Floor;
    bench.issue(1);
    bench.live_with(5_000, false);
    bench.driver.listen(&bench.authority.rules());
    bench.driver.listen(&bench.authority.grants[0].1.clone());
    assert_eq!(bench.stamp(), "lease_hours");
    bench.live(5_000);
    assert_eq!(bench.stamp(), "stamped");
    bench.live(1_000);
    assert_eq!(bench.receipts.last().unwrap().scene.time, TimeQuality::Synced);
}
