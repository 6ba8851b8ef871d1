//! A bell for one task of the same core: rung any number of times, heard at least once after the
//! last. Callers: the disk ring and the log, whose tasks gather the work of a turn.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// The bell. One task listens.
#[derive(Default)]
pub(crate) struct Signal {
    rung: Cell<bool>,
    listener: RefCell<Option<Waker>>,
}

impl Signal {
    /// Rings: the listener runs after the tasks that are ready now.
    pub(crate) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(listener) = self.listener.take()
        {
            listener.wake();
        }
    }

    /// Ready when it was rung since it was last heard.
    pub(crate) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rung.replace(false) {
            return Poll::Ready(());
        }
        self.listener.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
