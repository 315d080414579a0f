//! What any program takes here: start, heap, panic. What the lock takes is the difference.
#![no_std]
#![no_main]

extern crate alloc;

use core::hint::black_box;

use cortex_m_rt::entry;
use panic_halt as _;

#[entry]
fn main() -> ! {
    watchfire_lock::heap::start();
    loop {
        black_box(alloc::vec![black_box(0_u8); black_box(16)]);
    }
}
