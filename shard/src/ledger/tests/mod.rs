//! Tests of the ledger over real LMDB in temporary folders, one file per promise.

mod accounting;
mod cookies;
mod damage;
mod journal;
mod lanes;
mod model;
mod power;
mod replay;
mod rig;
mod space;
mod verbs;
