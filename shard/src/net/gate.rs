//! Waiting on one core for something that another task of the same core changes.
//!
//! Callers: a connection's reader (for room) and writer (for replies). Costs nothing while nobody
//! waits. Cancel-safe: a waiter that is dropped leaves a waker behind that does nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Where tasks of one core wait for a condition.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    /// Waits until `is_open`. Asked at once, and again after each [`Gate::notify`].
    pub(crate) async fn until(&self, is_open: impl Fn() -> bool) {
        poll_fn(|cx| {
            if is_open() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether nobody waits.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Lets everyone who waits look again.
    #[inline]
    pub(crate) fn notify(&self) {
        if !self.is_idle() {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        // Taken out first: a waker may run its task at once, and the task may wait here again.
        let mut woken = self.waiting.take();
        woken.drain(..).for_each(Waker::wake);
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            // Its memory is used again.
            *waiting = woken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::cell::Cell;

    #[test]
    fn an_open_gate_is_passed_at_once() {
        assert!(Gate::default().until(|| true).now_or_never().is_some());
    }

    #[test]
    fn a_waiter_passes_after_the_condition_changed_and_it_was_told() {
        let (gate, open) = (Gate::default(), Cell::new(false));
        let mut waiting = Box::pin(gate.until(|| open.get()));
        assert!(waiting.as_mut().now_or_never().is_none());
        gate.notify();
        assert!(waiting.as_mut().now_or_never().is_none());
        open.set(true);
        gate.notify();
        assert!(waiting.now_or_never().is_some());
    }
}
