//! CREATE: makes a regular file or finds one. RFC 1813 3.3.8.
//!
//! The ledger makes or finds it; a length other than that of the file is set here afterwards, by the
//! log: once, however often the request came.

use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use super::setattr::{self, Guard};
use super::under_way::UnderWay;
use super::{Step, commit};
use crate::inode::FileId;
use crate::ledger::command::{Answer, CreateHow, SetAttr, Verb};
use crate::status::Status;
use std::rc::Rc;

/// Makes or finds `name` in `dir`.
pub fn create(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8], how: CreateHow, attr: SetAttr) -> Step<Answer> {
    let name = match new_name(name) {
        Ok(name) => name,
        Err(status) => return Step::Done(refused_in(fs, dir, status)),
    };
    let verb = Verb::Create { dir, name, how, attr };
    match (attr.size, how) {
        (Some(size), CreateHow::Unchecked | CreateHow::Guarded) => {
            Step::Later(Box::pin(with_length(Rc::clone(fs), *asker, verb, size)))
        }
        _ => ask(fs, asker, verb),
    }
}

async fn with_length(fs: Rc<Fs>, asker: Asker, verb: Verb, size: u64) -> Answer {
    let _under_way = UnderWay::begin(&fs, asker.replay).await;
    let answer = ask(&fs, &asker, verb).wait().await;
    let Some(object) = answer.object.filter(|_| answer.status.is_ok()) else { return answer };
    if size == 0 && !answer.existed {
        return answer;
    }
    // A repetition sets the length only where that was not done, and the file has not changed since.
    let guard = if answer.replayed { Guard::Unchanged(object.change) } else { Guard::None };
    match setattr::truncate(&fs, &asker.cred, object.id(), size, guard).wait().await {
        Ok(done) => Answer { object: Some(done.after), ..answer },
        Err(Status::NotSync) => match commit::settled(&fs, object.id()).await {
            Ok(()) => Answer { object: fs.attr(object.id()).ok(), ..answer },
            Err(status) => Answer { status: Err(status), ..answer },
        },
        // Made, and gone since.
        Err(Status::Stale) if answer.replayed => answer,
        Err(status) => Answer { status: Err(status), ..answer },
    }
}
