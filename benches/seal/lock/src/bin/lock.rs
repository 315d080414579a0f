//! The lock as it is weighed: what comes from outside is unknown to the compiler, so that nothing of a seal is left out.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use cortex_m_rt::entry;
use panic_halt as _;
use seal::keys::MemoryKey;
use seal::stamping::{Action, Event};
use watchfire_lock::{ALGORITHM, Hands, Lock, commissioned, heap, moment};

struct Outside;

impl Hands for Outside {
    fn journal(&mut self, entry: &[u8]) -> bool {
        black_box(entry);
        black_box(true)
    }

    fn act(&mut self, action: &Action) -> Event {
        black_box(action);
        black_box(Event::Pressed)
    }

    fn say(&mut self, envelope: &[u8]) {
        black_box(envelope);
    }
}

#[entry]
fn main() -> ! {
    heap::start();
    let told = || black_box(Vec::<u8>::new());
    let key = MemoryKey::new(black_box(ALGORITHM), &black_box([1; 32]));
    if let (Some(roots), Some(key)) = (commissioned(&told()), key) {
        let mut lock = Lock::new(roots, key, Outside);
        while let Some(moment) = moment(&told()) {
            black_box(lock.hear(&told(), &moment));
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}
