//! `peers`: the alternatives beside us in one go, and what the kernel alone would do.

use guest_tests::Result;
use guest_tests::peers::WriteKind;

use crate::Stop;
use crate::path::{Contender, race};

pub(crate) fn run(stop: &Stop) -> Result<()> {
    let contenders = [
        Contender::Ours,
        Contender::Ovs,
        Contender::Testpmd,
        Contender::Floor(WriteKind::Plain),
        Contender::Floor(WriteKind::Contiguous),
        Contender::Floor(WriteKind::Vectored),
    ];
    race("peers", stop, &contenders, |_, _| ())
}
