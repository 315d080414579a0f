//! The lock of `lock` at the end of a serial line, as it is weighed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use cortex_m_rt::entry;
use line::message::{Down, Up};
use line::noise::Pair;
use line::{End, Event, Line};
use panic_halt as _;
use seal::keys::MemoryKey;
use seal::stamping::{Action, Event as Happened};
use watchfire_lock::{ALGORITHM, Hands, Lock, commissioned, heap, moment};

#[derive(Default)]
struct Outside(Vec<Vec<u8>>);

impl Hands for Outside {
    fn journal(&mut self, entry: &[u8]) -> bool {
        black_box(entry);
        black_box(true)
    }

    fn act(&mut self, action: &Action) -> Happened {
        black_box(action);
        black_box(Happened::Pressed)
    }

    fn say(&mut self, envelope: &[u8]) {
        self.0.push(Up::Envelope(envelope.into()).to_bytes());
    }
}

#[entry]
fn main() -> ! {
    heap::start();
    let told = || black_box(Vec::<u8>::new());
    let key = MemoryKey::new(black_box(ALGORITHM), &black_box([1; 32]));
    if let (Some(roots), Some(key)) = (commissioned(&told()), key) {
        let pair = Pair { own: black_box([0; 32]), peer: black_box([0; 32]), seal: roots.seal.clone() };
        let mut line =
            Line::new(End::Seal, pair, 115_200, alloc::boxed::Box::new(|| black_box(Some([0; 32]))));
        let mut lock = Lock::new(roots, key, Outside::default());
        while let Some(moment) = moment(&told()) {
            let now_ms = black_box(0);
            line.hear(&told(), now_ms);
            while let Some(event) = line.next(now_ms) {
                match event {
                    Event::Message(message) => {
                        if let Some(Down::Said(said)) = Down::read(&message) {
                            black_box(lock.hear(&said, &moment));
                        }
                        line.accept();
                    }
                    Event::Delivered => drop(lock.hands.0.remove(0)),
                    event => drop(black_box(event)),
                }
            }
            if let Some(message) = lock.hands.0.first() {
                line.send(message);
            }
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}
