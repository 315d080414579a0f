//! Memory: a heap that knows how much of it was needed, and how deep the stack went.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cortex_m as _; // how its critical sections are made
use cortex_m_rt::STACK_PAINT_VALUE;
use embedded_alloc::LlffHeap;

/// Bytes of the heap: `run` says how much of that a lock needs.
pub const HEAP_BYTES: usize = 48 * 1024;

struct Counting {
    heap: LlffHeap,
    most: AtomicUsize,
}

#[global_allocator]
static HEAP: Counting = Counting { heap: LlffHeap::empty(), most: AtomicUsize::new(0) };

// SAFETY: all is the inner allocator's; what is counted touches no memory of others.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        let allocated = unsafe { self.heap.alloc(layout) };
        // One core without interrupts.
        self.most.store(self.most.load(Relaxed).max(self.heap.used()), Relaxed);
        allocated
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { self.heap.dealloc(pointer, layout) }
    }
}

/// Makes the heap usable: called once, first of all.
pub fn start() {
    let heap = &HEAP.heap;
    // SAFETY: the memory is a static of this size that nothing else names. A second call panics.
    unsafe {
        embedded_alloc::init!(heap, HEAP_BYTES);
    }
}

/// Most bytes of the heap in use at once since this was asked last.
pub fn most_used() -> usize {
    HEAP.most.swap(HEAP.heap.used(), Relaxed)
}

/// Bytes of the heap in use.
pub fn used() -> usize {
    HEAP.heap.used()
}

/// Most bytes of the stack in use at once since the start.
pub fn deepest_stack() -> usize {
    unsafe extern "C" {
        static mut _stack_end: u32;
        static mut _stack_start: u32;
    }
    let (mut at, top) = ((&raw const _stack_end).addr(), (&raw const _stack_start).addr());
    // SAFETY: the linker's script puts whole words of RAM between the two; the runtime has painted them.
    while at < top
        && unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_volatile() } == STACK_PAINT_VALUE
    {
        at += 4;
    }
    top - at
}
