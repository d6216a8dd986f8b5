//! The HTTP listener and the page, against a daemon that is made up.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod browser;
mod daemon;
mod listener;
mod page;
#[path = "../metrics/promtool.rs"]
mod promtool;
mod sample;
mod stub;
