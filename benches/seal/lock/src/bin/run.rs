//! The lock hears the story that `decide --story` has told, in QEMU: instructions and memory of each step.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;
use line::noise::{Pair, public};
use line::{End, Line};
use panic_halt as _;
use seal::keys::MemoryKey;
use seal::stamping::{Action, Event};
use watchfire_lock::{ALGORITHM, Hands, Lock, commissioned, heap, moment};

macro_rules! told {
    ($name:literal) => {
        include_bytes!(concat!(env!("LOCK_STORY"), "/", $name))
    };
}

/// QEMU counts an instruction as a nanosecond (-icount shift=0), and this board's timer ticks at 25 MHz.
const INSTRUCTIONS_PER_TICK: u32 = 40;
/// The timer has 24 bits.
const FULL: u32 = 0x00ff_ffff;

/// Everything goes as it should.
#[derive(Default)]
struct Good {
    is_closed_again: bool,
    receipts: u32,
}

impl Hands for Good {
    fn journal(&mut self, _: &[u8]) -> bool {
        true
    }

    fn act(&mut self, action: &Action) -> Event {
        match action {
            Action::Photograph => Event::Photographed(Some([7; 32].into())),
            Action::Count(_) => Event::Counted,
            Action::Open => Event::Pressed,
            _ => {
                self.is_closed_again = true;
                Event::Closed
            }
        }
    }

    fn say(&mut self, _: &[u8]) {
        self.receipts += 1;
    }
}

fn measured(timer: &mut SYST, name: &str, hear: impl FnOnce() -> bool) -> bool {
    let before = heap::used();
    heap::most_used();
    timer.clear_current();
    let _ = timer.has_wrapped();
    let good = hear();
    let ticks = FULL - SYST::get_current();
    let is_over = timer.has_wrapped();
    let (most, k) = (heap::most_used(), ticks * INSTRUCTIONS_PER_TICK / 1000);
    hprintln!("{:<28} {:>9} {:>9} {:>9}", name, k, most - before, heap::used());
    // What takes longer than the timer can say is a failure too.
    good && !is_over
}

/// A knock is answered, and a session begins: both ends of it, of which a lock is one.
fn handshake() -> bool {
    let pair = |own, peer: [u8; 32]| Pair { own, peer: public(&peer), seal: "gongli-07".into() };
    let end = |end, pair, fresh| Line::new(end, pair, 115_200, Box::new(move || Some(fresh)));
    let mut gateway = end(End::Gateway, pair([1; 32], [2; 32]), [3; 32]);
    let mut seal = end(End::Seal, pair([2; 32], [1; 32]), [4; 32]);
    for _ in 0..2 {
        for at in 0..2 {
            let (from, to) = if at == 0 { (&mut gateway, &mut seal) } else { (&mut seal, &mut gateway) };
            while let Some(event) = from.next(0) {
                if let line::Event::Write(frame) = event {
                    to.hear(&frame, 0);
                }
            }
        }
    }
    gateway.is_up() && seal.is_up()
}

#[entry]
fn main() -> ! {
    heap::start();
    let mut timer = cortex_m::Peripherals::take().expect("it is taken once").SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(FULL);
    timer.enable_counter();

    let roots = commissioned(told!("roots")).expect("the story begins with roots");
    let moment = moment(told!("moment")).expect("the story has a moment");
    let key = MemoryKey::new(ALGORITHM, &[9; 32]).expect("it is built in");
    let mut lock = Lock::new(roots, key, Good::default());
    hprintln!("{:<28} {:>9} {:>9} {:>9}", "", "k instr.", "heap B", "held B");
    let mut is_good = true;
    let (grant, hostile) = (&told!("grant")[..], &told!("hostile")[..]);
    is_good &= measured(&mut timer, "rules, 24 approvers", || lock.hear(told!("policy"), &moment));
    is_good &= measured(&mut timer, "answer, 100 revocations", || lock.hear(told!("answer"), &moment));
    is_good &= measured(&mut timer, "decision: leave", || lock.would(grant, &moment));
    is_good &= measured(&mut timer, "decision: hostile", || !lock.would(hostile, &moment));
    is_good &= measured(&mut timer, "leave, stamp, receipt", || lock.hear(grant, &moment));
    is_good &= measured(&mut timer, "the same again, refused", || !lock.hear(grant, &moment));
    is_good &= lock.hands.is_closed_again;
    is_good &= measured(&mut timer, "serial line: who is there", || handshake());
    hprintln!("stack: {} B at most; receipts: {}", heap::deepest_stack(), lock.hands.receipts);
    exit(if is_good { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}
