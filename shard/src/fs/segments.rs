//! Segments for a core's log, from the ledger.

use super::filesystem::Shared;
use crate::ledger::command::{self, Done, Job};
use crate::ledger::port::Port;
use crate::status::Status;
use cache::disk::slot_name;
use cache::log::{Refused, SegmentGrant, SegmentSource, Urgency};
use cache::world::LocalFuture;
use std::rc::Rc;
use std::sync::Arc;

/// Asks the ledger for segments in the name of one core.
pub(super) struct LedgerSegments {
    pub(super) shared: Arc<Shared>,
    pub(super) port: Rc<Port>,
    pub(super) core: u16,
}

impl SegmentSource for LedgerSegments {
    fn open(&self, urgency: Urgency) -> LocalFuture<Result<SegmentGrant, Refused>> {
        let (shared, port, core) = (Arc::clone(&self.shared), Rc::clone(&self.port), self.core);
        let urgency = match urgency {
            Urgency::Data => command::Urgency::Data,
            Urgency::Reserve => command::Urgency::Reserve,
        };
        Box::pin(async move {
            match port.call(Job::OpenSegment { core, urgency }).await {
                Done::Segment { info, fresh } => {
                    let fresh = fresh || !is_there(&shared, info.slot);
                    Ok(SegmentGrant { id: info.id, slot: info.slot, fresh })
                }
                Done::Refused(Status::NoSpace | Status::Delay) => Err(Refused::NoSpace),
                _ => Err(Refused::Poisoned),
            }
        })
    }
}

/// Whether the slot's file has its size. It may not: after a crash between the ledger's commit and
/// the making of the file, or when segments have become larger since.
fn is_there(shared: &Shared, slot: u32) -> bool {
    let path = shared.log_directory().join(slot_name(slot));
    std::fs::metadata(path).is_ok_and(|file| file.len() >= shared.options.segment_bytes)
}
