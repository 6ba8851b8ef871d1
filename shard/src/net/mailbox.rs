//! A core's mailbox: letters from other threads, and the bell that wakes the core.
//!
//! Callers: the acceptor, the ledger's thread, other cores and the administration post;
//! [`super::core`] collects.
//! Promises: bounded (a full mailbox gives the letter back); no system call while the core is known
//! to be awake; no letter is left lying while the core sleeps.

use crossbeam::queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Letters that a mailbox holds.
pub(crate) const LETTERS_MAX: usize = 8192;

/// Where other threads leave what a core is to do.
pub(crate) struct Mailbox<T> {
    letters: ArrayQueue<T>,
    /// Somebody left something for the core elsewhere, in a queue of their own.
    called: AtomicBool,
    /// The core waits for the bell, or is about to.
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl<T> Mailbox<T> {
    /// An empty mailbox for `letters_max` letters. Fails when the kernel has no descriptor left.
    pub(crate) fn new(letters_max: usize) -> io::Result<Mailbox<T>> {
        Ok(Mailbox {
            letters: ArrayQueue::new(letters_max),
            called: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// Leaves a letter and wakes the core. A full mailbox gives the letter back.
    pub(crate) fn post(&self, letter: T) -> Result<(), T> {
        self.letters.push(letter)?;
        self.ring();
        Ok(())
    }

    /// Letters that lie in it.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Wakes the core to look into queues beside this one; [`Mailbox::was_called`] tells it so.
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // Pairs with the fence of `is_quiet`: either the core sees what was left or we see it asleep.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            ring(&self.bell);
        }
    }

    /// The next letter.
    pub(crate) fn take(&self) -> Option<T> {
        self.letters.pop()
    }

    /// Whether there was a [`Mailbox::call`] since the last time. The caller looks afterwards.
    pub(crate) fn was_called(&self) -> bool {
        self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::AcqRel)
    }

    /// Announces that the core will wait for the bell; `false` when something came in between, and
    /// the core must look again.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.letters.is_empty() && !self.called.load(Ordering::Relaxed) {
            return true;
        }
        // When somebody rang already the next wait returns at once, which is harmless.
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// The bell, for the core to wait on: eight bytes can be read when it rang.
    pub(crate) fn bell(&self) -> io::Result<File> {
        Ok(File::from(self.bell.try_clone()?))
    }
}

/// Rings an eventfd. It fails only where the counter would overflow, which takes 255 times without
/// anyone waking.
pub(crate) fn ring(bell: &OwnedFd) {
    let _ = rustix::io::write(bell, &[1; 8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::Read;
    use std::sync::Arc;

    #[test]
    fn a_full_mailbox_gives_the_letter_back() {
        let mailbox = Mailbox::new(1).unwrap();
        assert_eq!(mailbox.post(1), Ok(()));
        assert_eq!(mailbox.post(2), Err(2));
        assert_eq!(mailbox.take(), Some(1));
    }

    #[test]
    fn a_letter_that_came_before_sleep_is_noticed() {
        let mailbox = Mailbox::new(4).unwrap();
        mailbox.post(1).unwrap();
        assert!(!mailbox.is_quiet());
        assert_eq!(mailbox.take(), Some(1));
        assert!(mailbox.is_quiet());
    }

    #[test]
    fn a_call_is_noticed_once() {
        let mailbox: Mailbox<u8> = Mailbox::new(4).unwrap();
        mailbox.call();
        assert!(!mailbox.is_quiet());
        assert!(mailbox.was_called());
        assert!(!mailbox.was_called());
        assert!(mailbox.is_quiet());
    }

    #[test]
    fn whatever_comes_rings_for_a_core_that_sleeps_and_for_no_other() {
        let mailbox = Mailbox::new(4).unwrap();
        let has_rung = || {
            let mut bells = [PollFd::new(&mailbox.bell, PollFlags::IN)];
            poll(&mut bells, Some(&Timespec::default())).unwrap() == 1
        };
        mailbox.call();
        mailbox.post(1).unwrap();
        assert!(!has_rung(), "nobody sleeps");
        assert!(mailbox.was_called());
        mailbox.take();
        for come in [Mailbox::call, |mailbox: &Mailbox<i32>| mailbox.post(1).unwrap()] {
            assert!(mailbox.is_quiet());
            come(&mailbox);
            assert!(has_rung());
            mailbox.bell().unwrap().read_exact(&mut [0; 8]).unwrap();
            assert!(mailbox.was_called() != mailbox.take().is_some());
        }
    }

    #[test]
    fn every_letter_arrives_when_the_reader_sleeps_between_them() {
        const LETTERS: u64 = 20_000;
        let mailbox = Arc::new(Mailbox::new(64).unwrap());
        let sender = {
            let mailbox = mailbox.clone();
            std::thread::spawn(move || {
                for letter in 0..LETTERS {
                    while mailbox.post(letter).is_err() {
                        std::thread::yield_now();
                    }
                }
            })
        };
        let mut bell = mailbox.bell().unwrap();
        let mut next = 0;
        while next < LETTERS {
            while let Some(letter) = mailbox.take() {
                assert_eq!(letter, next);
                next += 1;
            }
            if next < LETTERS && mailbox.is_quiet() {
                bell.read_exact(&mut [0; 8]).unwrap();
            }
        }
        sender.join().unwrap();
    }
}
