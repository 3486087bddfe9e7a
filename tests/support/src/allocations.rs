//! An allocator that counts, for tests that nothing is allocated. A test binary installs it:
//! `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations and reallocations of this thread so far; other tests run on other threads. Stays 0 where
/// [`CountingAllocator`] is not installed.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// The system's allocator, counted by thread.
#[derive(Clone, Copy, Debug)]
pub struct CountingAllocator;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn each_allocation_of_this_thread_counts() {
        let before = allocations();
        let boxed = std::hint::black_box(Box::new(7));
        assert_eq!(allocations() - before, 1);
        drop(boxed);
        let mut grown: Vec<u8> = std::hint::black_box(Vec::with_capacity(1));
        grown.reserve_exact(1000);
        assert_eq!(allocations() - before, 3);
    }
}
