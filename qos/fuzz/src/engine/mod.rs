//! The engine: any calls in any order against a model that keeps the books.
//!
//! `script` turns bytes into trees and calls, `play` makes the calls, `books` says what every counter
//! must be and where every frame is, and `meter` holds each limit against exact integers.
#![allow(clippy::unwrap_used)] // in a model, too, a panic is a finding

mod books;
mod meter;
mod play;
mod script;

use arbitrary::{Arbitrary, Unstructured};

use play::Play;
use script::Script;

pub(crate) fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    crate::show(&script);
    let trace = Play::run(&script, false);
    if script.twice {
        assert_eq!(
            trace,
            Play::run(&script, true),
            "a burst is not its frames one by one"
        );
    }
}
