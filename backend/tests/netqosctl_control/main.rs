//! `netqosctl` against a daemon of canned answers: what it asks for, what it prints, how it ends.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod change;
mod frames;
mod show;
mod stub;
