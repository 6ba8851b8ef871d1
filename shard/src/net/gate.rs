//! Waiting on one core for something that another task of the same core changes.
//!
//! Callers: a connection's reader (for room, memory and its turn) and writer (for replies). Costs nothing while nobody
//! waits. Cancel-safe: a waiter that is dropped leaves a waker behind that does nothing.

use futures_channel::oneshot;
use std::cell::RefCell;
use std::collections::VecDeque;
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

/// Where tasks of one core wait in a line: each [`Line::next`] lets the first one go.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
}

impl Line {
    /// Waits at the end of the line.
    pub(crate) async fn wait(&self) {
        let (go, turn) = oneshot::channel();
        self.waiting.borrow_mut().push_back(go);
        // The other end is dropped with the line alone.
        let _ = turn.await;
    }

    /// Lets the first one go; `false` when nobody waits.
    pub(crate) fn next(&self) -> bool {
        loop {
            let Some(first) = self.waiting.borrow_mut().pop_front() else { return false };
            if first.send(()).is_ok() {
                return true;
            }
        }
    }

    /// Lets everyone go who waits now.
    pub(crate) fn all(&self) {
        let waiting = self.waiting.take();
        for go in waiting {
            // Whoever waited may be gone.
            let _ = go.send(());
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_moves_one_at_a_time_in_its_order_and_past_those_who_left() {
        let line = Line::default();
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(line.wait())).collect();
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
        drop(waiting.remove(0));
        assert!(line.next());
        assert!(waiting.remove(0).now_or_never().is_some());
        assert!(waiting[0].as_mut().now_or_never().is_none());
        line.all();
        assert!(waiting.into_iter().all(|wait| wait.now_or_never().is_some()));
        assert!(!line.next());
    }
    use futures_util::FutureExt;
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task {
        woken: AtomicUsize,
    }

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn everyone_who_waits_is_woken_and_each_once() {
        let (gate, tasks) = (Gate::default(), [Arc::<Task>::default(), Arc::default()]);
        let mut waits = [(); 2].map(|()| Box::pin(gate.until(|| false)));
        for round in 1..=3 {
            for _ in 0..2 {
                for (wait, task) in waits.iter_mut().zip(&tasks) {
                    assert!(wait.as_mut().poll(&mut Context::from_waker(&Arc::clone(task).into())).is_pending());
                }
            }
            assert!(!gate.is_idle());
            gate.notify();
            assert!(gate.is_idle());
            assert_eq!(tasks.each_ref().map(|task| task.woken.load(Ordering::Relaxed)), [round; 2]);
        }
    }

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
