//! Wakes tasks of one core that wait for something to change. No value, no queue: whoever wakes
//! looks again.
//!
//! Callers: the checkpoint and the cleaner, and writers that wait for them.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A change that tasks of this core can wait for.
#[derive(Clone, Default)]
pub(super) struct Signal(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    /// Times it was raised.
    count: u64,
    waiters: Vec<Waker>,
}

impl Signal {
    /// Wakes everyone who waits.
    pub(super) fn raise(&self) {
        let waiters = {
            let mut inner = self.0.borrow_mut();
            inner.count += 1;
            std::mem::take(&mut inner.waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Completes when it was raised after this call.
    pub(super) fn raised(&self) -> impl Future<Output = ()> + use<> {
        let inner = Rc::clone(&self.0);
        let before = inner.borrow().count;
        poll_fn(move |cx| {
            let mut inner = inner.borrow_mut();
            if inner.count != before {
                return Poll::Ready(());
            }
            if !inner.waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                inner.waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}
