//! `peers`: the alternatives beside us in one go, and what the kernel alone would do.

use guest_tests::Result;
use guest_tests::peers::{Buffers, WriteKind};

use crate::Stop;
use crate::carry::{Carrier, OURS, OVS, TESTPMD};
use crate::choice::Choice;
use crate::path::carry;

const POINTS: [(u16, u32); 2] = [(64, 1), (1500, 1)];

/// The kernel's price for buffers of the writer's own, and for such as the other processor has just written.
const FLOORS: [(&str, Carrier); 8] = {
    use Buffers::{Fed, Own};
    use WriteKind::{Contiguous, Plain, Uring, Vectored};
    [
        ("floor_write", Carrier::Floor(Plain, Own)),
        ("floor_write_vnet_hdr", Carrier::Floor(Contiguous, Own)),
        ("floor_writev_vnet_hdr", Carrier::Floor(Vectored, Own)),
        ("floor_uring_vnet_hdr", Carrier::Floor(Uring, Own)),
        ("fed_write", Carrier::Floor(Plain, Fed)),
        ("fed_write_vnet_hdr", Carrier::Floor(Contiguous, Fed)),
        ("fed_writev_vnet_hdr", Carrier::Floor(Vectored, Fed)),
        ("fed_uring_vnet_hdr", Carrier::Floor(Uring, Fed)),
    ]
};

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let contenders: Vec<_> = [OURS, OVS, TESTPMD].into_iter().chain(FLOORS).collect();
    let references = ["ovs", "testpmd", "fed_write_vnet_hdr"];
    carry("peers", stop, choice, &POINTS, &contenders, &references)
}
