//! How deeply the processor of a core may sleep between two calls.
//!
//! An idle processor is put to sleep by the kernel, and waking it is part of the latency of the next call: microseconds on bare
//! metal, tens of them in a virtual machine. While calls come, the core asks for a processor that stays
//! awake (`pm_qos_resume_latency_us` of its device in sysfs, Documentation/ABI/testing/sysfs-devices-power); a second or two after the
//! last one it may sleep again.
//!
//! Caller: the core, after each batch of calls and once a second.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The limit of one processor's sleep. Dropped, the kernel decides again.
pub(crate) struct SleepLimit {
    /// `None` where it is not ours to set, or was refused.
    file: RefCell<Option<File>>,
    is_awake: Cell<bool>,
    /// A batch was served since the last look.
    was_busy: Cell<bool>,
}

impl SleepLimit {
    /// Of the processor whose sysfs attribute this is, opened for writing. What an earlier process left there is undone.
    pub(crate) fn new(attribute: Option<File>) -> SleepLimit {
        let limit =
            SleepLimit { file: RefCell::new(attribute), is_awake: Cell::new(false), was_busy: Cell::new(false) };
        limit.set(KERNEL_DECIDES);
        limit
    }

    /// Calls were served: keeps the processor awake.
    #[inline]
    pub(crate) fn served(&self) {
        self.was_busy.set(true);
        if !self.is_awake.replace(true) {
            self.set(STAY_AWAKE);
        }
    }

    /// Lets it sleep when nothing was served since the last look.
    pub(crate) fn look(&self) {
        if !self.was_busy.replace(false) && self.is_awake.replace(false) {
            self.set(KERNEL_DECIDES);
        }
    }

    /// Best effort: with a processor that sleeps, calls are slower, not wrong.
    fn set(&self, value: &str) {
        let mut file = self.file.borrow_mut();
        if file.as_ref().is_some_and(|file| file.write_all_at(value.as_bytes(), 0).is_err()) {
            *file = None;
        }
    }
}

impl Drop for SleepLimit {
    fn drop(&mut self) {
        self.set(KERNEL_DECIDES);
    }
}

/// No latency is tolerated.
const STAY_AWAKE: &str = "n/a";
/// There is no limit.
const KERNEL_DECIDES: &str = "0";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// An attribute's stand-in and what was written to it last.
    fn attribute() -> (tempfile::NamedTempFile, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = File::options().write(true).open(file.path()).unwrap();
        (file, writer)
    }

    fn last(file: &tempfile::NamedTempFile) -> String {
        let mut text = String::new();
        file.reopen().unwrap().read_to_string(&mut text).unwrap();
        file.as_file().set_len(0).unwrap();
        text
    }

    #[test]
    fn a_processor_stays_awake_while_calls_come_and_not_longer() {
        let (file, writer) = attribute();
        let limit = SleepLimit::new(Some(writer));
        assert_eq!(last(&file), "0", "an earlier process left it awake");
        limit.look();
        assert_eq!(last(&file), "", "nothing has changed");
        limit.served();
        assert_eq!(last(&file), "n/a");
        limit.served();
        limit.look();
        assert_eq!(last(&file), "", "it is awake already, and was busy");
        limit.look();
        assert_eq!(last(&file), "0");
        limit.served();
        assert_eq!(last(&file), "n/a");
        drop(limit);
        assert_eq!(last(&file), "0");
    }

    #[test]
    fn what_cannot_be_written_is_given_up() {
        let (file, _) = attribute();
        let reader = File::open(file.path()).unwrap();
        let limit = SleepLimit::new(Some(reader));
        assert!(limit.file.borrow().is_none());
        limit.served();
        limit.look();
        limit.look();
    }
}
