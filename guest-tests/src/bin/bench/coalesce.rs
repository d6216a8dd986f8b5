//! `coalesce`: bulk transfers of one flow from a guest that cuts them up itself, into a tap. Figures are
//! segments per second as they left the guest: what is joined on the way counts as what it was joined from.

use guest_tests::Result;
use guest_tests::peers::{Buffers, Load, Protocol, Replay, WriteKind};

use crate::Stop;
use crate::carry::{Carrier, OURS, OURS_LIMITED, OVS, Road, TESTPMD};
use crate::choice::Choice;
use crate::race::Race;

const LENGTHS: [u16; 3] = [64, 512, 1500];
const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
/// Who touches each byte once can be no faster.
const COPY: (&str, Carrier) = ("copy", Carrier::Floor(WriteKind::Copy, Buffers::Fed));

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let contenders = [OURS, OURS_LIMITED, OVS, TESTPMD, COPY];
    let road = Road::new(choice.window())?;
    for (protocol, kind) in PROTOCOLS {
        for len in LENGTHS.into_iter().filter(|len| choice.has_size(*len)) {
            let replay = Replay::new(kind, len)?;
            let race = Race {
                stop,
                choice,
                prefix: &format!("coalesce.{protocol}.{len}"),
                unit: "segments/s",
                references: &["ovs", "testpmd", "copy"],
            };
            race.run(&contenders, |carrier| {
                let rates = road.measure(carrier, Load::Replay(replay.path()), len)?;
                Ok(match carrier {
                    Carrier::Floor(..) => rates.frames,
                    _ => rates.segments(replay.headers(), replay.payload()),
                })
            })?;
        }
    }
    Ok(())
}
