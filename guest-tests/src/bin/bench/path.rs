//! `path`: DPDK's generator as the guest, through us and through Open vSwitch, into a tap.

use guest_tests::Result;
use guest_tests::peers::Load;

use crate::Stop;
use crate::carry::{Carrier, OURS, OURS_FLEET, OURS_LIMITED, OURS_TREE, OVS, Road};
use crate::choice::Choice;
use crate::race::Race;

/// Frames and flows: of several flows at the size at which a lookup weighs most.
const POINTS: [(u16, u32); 4] = [(64, 1), (64, 10_000), (512, 1), (1500, 1)];

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let contenders = [OURS, OURS_LIMITED, OURS_TREE, OURS_FLEET, OVS];
    carry("path", stop, choice, &POINTS, &contenders, &["ovs"])
}

/// Frames per second of each contender at each of these points.
pub(crate) fn carry(
    name: &str,
    stop: &Stop,
    choice: &Choice,
    points: &[(u16, u32)],
    contenders: &[(&str, Carrier)],
    references: &[&str],
) -> Result<()> {
    let road = Road::new(choice.window())?;
    for &(len, flows) in points.iter().filter(|(len, _)| choice.has_size(*len)) {
        let (prefix, load) = match flows {
            1 => (format!("{name}.{len}"), Load::Frames { len }),
            _ => (
                format!("{name}.{len}.flows{flows}"),
                Load::Flows { len, flows },
            ),
        };
        let race = Race {
            stop,
            choice,
            prefix: &prefix,
            unit: "frames/s",
            references,
        };
        race.run(contenders, |carrier| {
            let rates = road.measure(carrier, load, len)?;
            Ok(rates.frames)
        })?;
    }
    Ok(())
}
