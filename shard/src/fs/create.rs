//! CREATE: makes a regular file or finds one. RFC 1813 3.3.8.
//!
//! The ledger makes or finds it; a length other than that of the file is set here afterwards, by the
//! log. A replay is answered without setting a length again once the file has changed since.

use super::ask::{Asker, ask, new_name, refused_in};
use super::column::Fs;
use super::{Step, commit, setattr};
use crate::inode::FileId;
use crate::ledger::command::{Answer, CreateHow, SetAttr, Verb};
use std::rc::Rc;

/// Makes or finds `name` in `dir`.
pub fn create(fs: &Rc<Fs>, asker: &Asker, dir: FileId, name: &[u8], how: CreateHow, attr: SetAttr) -> Step<Answer> {
    let name = match new_name(name) {
        Ok(name) => name,
        Err(status) => return Step::Done(refused_in(fs, dir, status)),
    };
    let made = ask(fs, asker, Verb::Create { dir, name, how, attr });
    match (attr.size, how) {
        (Some(size), CreateHow::Unchecked | CreateHow::Guarded) => {
            Step::Later(Box::pin(resize(Rc::clone(fs), *asker, made, size)))
        }
        _ => made,
    }
}

async fn resize(fs: Rc<Fs>, asker: Asker, made: Step<Answer>, size: u64) -> Answer {
    let answer = made.wait().await;
    let Some(object) = answer.object.filter(|_| answer.status.is_ok()) else { return answer };
    if size == 0 && !answer.existed {
        return answer;
    }
    if answer.replayed {
        match fs.attr(object.id()) {
            // Not changed since: a crash may even have taken an earlier change away.
            Ok(now) if now.change <= object.change => {}
            // The truncation may be under way, asked for by the same request on another connection.
            Ok(now) => {
                return match commit::settled(&fs, object.id()).await {
                    Ok(()) => Answer { object: Some(now), ..answer },
                    Err(status) => Answer { status: Err(status), ..answer },
                };
            }
            Err(_) => return answer,
        }
    }
    match setattr::truncate(&fs, &asker.cred, object.id(), size, None).wait().await {
        Ok(done) => Answer { object: Some(done.after), ..answer },
        Err(status) => Answer { status: Err(status), ..answer },
    }
}
