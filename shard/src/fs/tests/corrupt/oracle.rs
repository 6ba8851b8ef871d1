//! Everything that can be asked of the filesystem, and what is right.

use super::super::rig::*;
use super::image::Image;
use crate::cred::Cred;
use crate::fs::readdir::{Detail, Taken, readdir};
use crate::fs::readlink::readlink;
use crate::fs::{Fs, lookup};
use crate::inode::{FileId, Inode, Kind, ROOT_ID};
use crate::status::Status;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Attributes(FileId),
    List(FileId),
    Lookup(FileId, Vec<u8>),
    Read(FileId, usize),
    Target(FileId),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Object(Inode),
    Entries(Vec<(u64, u64, Vec<u8>, Option<Inode>)>),
    Bytes(Vec<u8>),
}

/// All questions with their right answers.
pub(super) struct Oracle {
    pub(super) asked: Vec<(Question, Result<Answer, Status>)>,
}

/// How an answer compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Right,
    Error,
    Wrong,
}

impl Oracle {
    /// Walks an undamaged copy, and compares its files with what was written.
    pub(super) fn of(image: &Image) -> Oracle {
        let copied = image.copy();
        let rig = copied.open().unwrap();
        let asked = rig.world.run_until(walk(&rig.fs[0], image));
        Oracle { asked }
    }

    /// Asks everything: how each question was answered.
    pub(super) fn ask(&self, rig: &Rig) -> Vec<Judged> {
        rig.world.run_until(async {
            let mut judged = Vec::new();
            for (question, right) in &self.asked {
                let answer = answer(&rig.fs[0], question).await;
                judged.push(judge(&answer, right));
            }
            judged
        })
    }

    /// Prints the questions that were not answered rightly.
    pub(super) fn show(&self, rig: &Rig, judged: &[Judged]) {
        for ((question, right), _) in self.asked.iter().zip(judged).filter(|(_, judged)| **judged != Judged::Right) {
            let got = rig.world.run_until(answer(&rig.fs[0], question));
            let short = |answer: &Result<Answer, Status>| format!("{answer:?}").chars().take(900).collect::<String>();
            eprintln!("{question:?}\n  right {}\n  got   {}", short(right), short(&got));
        }
    }
}

fn judge(answer: &Result<Answer, Status>, right: &Result<Answer, Status>) -> Judged {
    match answer {
        answer if answer == right => Judged::Right,
        // What a client takes for trouble of the server, and not for an answer.
        Err(Status::Io | Status::ServerFault | Status::Delay) => Judged::Error,
        _ => Judged::Wrong,
    }
}

async fn walk(fs: &Rc<Fs>, image: &Image) -> Vec<(Question, Result<Answer, Status>)> {
    let mut questions = Vec::new();
    let mut dirs = vec![ROOT_ID];
    let mut seen = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        let Ok(Answer::Entries(entries)) = answer(fs, &Question::List(dir)).await else { panic!("{dir:?}") };
        questions.extend([Question::Attributes(dir), Question::List(dir)]);
        questions.extend((0..3).map(|index| Question::Lookup(dir, format!("entry-{index}-nobody").into_bytes())));
        for (_, _, name, object) in entries {
            let object = object.expect("the superuser sees attributes");
            questions.push(Question::Lookup(dir, name.clone()));
            if !seen.insert(object.ino) || name == b"." || name == b".." {
                continue;
            }
            questions.push(Question::Attributes(object.id()));
            match object.kind {
                Kind::Directory => dirs.push(object.id()),
                Kind::Symlink => questions.push(Question::Target(object.id())),
                Kind::File => {
                    let bytes = all(fs, object.id()).await.unwrap();
                    assert!(bytes == image.files[&object.ino.0], "{:?} is not what was written", object.ino);
                    questions.push(Question::Read(object.id(), bytes.len() + 1));
                }
                _ => {}
            }
        }
    }
    let mut asked = Vec::new();
    for question in questions {
        let answer = answer(fs, &question).await;
        asked.push((question, answer));
    }
    asked
}

async fn answer(fs: &Rc<Fs>, question: &Question) -> Result<Answer, Status> {
    match question {
        Question::Attributes(id) => Ok(Answer::Object(shown(fs.attr(*id)?))),
        Question::Lookup(dir, name) => Ok(Answer::Object(shown(lookup::lookup(fs, &Cred::root(), *dir, name)?))),
        Question::Read(id, count) => Ok(Answer::Bytes(get(fs, *id, 0, *count).await?)),
        Question::Target(id) => Ok(Answer::Bytes(readlink(fs, *id).target?)),
        Question::List(dir) => {
            let mut entries = Vec::new();
            let listing = readdir(fs, &Cred::root(), *dir, 0, Detail::Attributes, |entry| {
                entries.push((entry.cookie, entry.ino.0, entry.name.to_vec(), entry.object.map(shown)));
                Taken::Yes
            });
            assert!(listing.end?, "everything is taken");
            Ok(Answer::Entries(entries))
        }
    }
}

/// What clients are shown of an inode.
fn shown(inode: Inode) -> Inode {
    Inode { folded_lsn: 0, ..inode }
}
