//! What an execution did, seen from below: bytes allocated on this thread, and edges of the control flow passed.
//!
//! Callers: [`crate::execute`] and the engine. The only unsafe code of this crate. The edges come from code built
//! with LLVM's SanitizerCoverage (`cargo xtask fuzz` does it); without it there are none, and [`edge_count`] is 0.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The system's allocator, with a count.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes allocated and not yet freed by this thread, less those freed for others.
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    /// The most that [`LIVE_BYTES`] has been.
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// Runs `work`, and says how many more bytes were allocated at a time than before it.
pub fn peak_during<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let value = work();
    (value, usize::try_from(PEAK_BYTES.get() - before).unwrap_or(0))
}

/// Adds to the live bytes of this thread. A thread that ends frees its own variables last: nothing is counted then.
fn count(bytes: isize) {
    let _ = LIVE_BYTES.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on; `start` came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on; `start` came from the system's allocator.
        unsafe { System.realloc(start, layout, bytes) }
    }
}

/// Where the counters are: one byte for each edge of instrumented code.
static COUNTERS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static COUNTERS_LEN: AtomicUsize = AtomicUsize::new(0);

/// Called by every instrumented module before `main`. The linker joins the counters of all modules, so that every
/// call has the same range.
// SAFETY: the name is the one that instrumented code calls, and nobody else's.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    COUNTERS.store(start, Ordering::Relaxed);
    COUNTERS_LEN.store(end as usize - start as usize, Ordering::Relaxed);
}

/// Edges of all instrumented code; 0 when nothing is instrumented.
pub fn edge_count() -> usize {
    COUNTERS_LEN.load(Ordering::Relaxed)
}

/// Moves the counters from `first` on into `counts`, and begins anew at zero.
pub fn take_edges(first: usize, counts: &mut [u8]) {
    let start = COUNTERS.load(Ordering::Relaxed);
    assert!(first + counts.len() <= edge_count());
    // SAFETY: the range lies within the counters, which live as long as the program. They are touched through raw
    // pointers alone; an increment of another thread at the same moment is lost or kept, and no harm either way.
    unsafe {
        std::ptr::copy_nonoverlapping(start.add(first), counts.as_mut_ptr(), counts.len());
        std::ptr::write_bytes(start.add(first), 0, counts.len());
    }
}
