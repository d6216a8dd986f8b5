//! `local`: two guests that send to each other, through one back-end: frames that both receive.

use guest_tests::peers::{Cores, Count, End, HugePages, Ovs, Protocol, Replay, Testpmd, Wiring};
use guest_tests::{Daemon, Namespace, Result};

use crate::Stop;
use crate::carry::PAGES;
use crate::choice::Choice;
use crate::race::Race;

const LENGTHS: [u16; 2] = [64, 1500];
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];

/// Who is between the guests.
#[derive(Debug, Clone, Copy)]
enum Between {
    /// Our daemon, with these keys for each guest.
    Ours(&'static str),
    /// Open vSwitch with DPDK.
    Ovs(Wiring),
    /// testpmd, `net_vhost` to `net_vhost`.
    Testpmd,
}

const CONTENDERS: [(&str, Between); 5] = [
    ("ours", Between::Ours("")),
    (
        "ours_limited",
        Between::Ours("from_guest = { ceil = \"100gbit\" }\nto_guest = { ceil = \"100gbit\" }"),
    ),
    ("ovs_fixed", Between::Ovs(Wiring::Pair)),
    ("ovs", Between::Ovs(Wiring::Learning)),
    ("testpmd", Between::Testpmd),
];

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let cores = Cores::first_two()?;
    let pages = HugePages::reserve(PAGES)?;
    for len in LENGTHS.into_iter().filter(|len| choice.has_size(*len)) {
        let there = Replay::between(Protocol::Udp, len, A, B)?;
        let back = Replay::between(Protocol::Udp, len, B, A)?;
        let race = Race {
            stop,
            choice,
            prefix: &format!("local.{len}"),
            unit: "frames/s",
            references: &["ovs", "ovs_fixed", "testpmd"],
        };
        race.run(&CONTENDERS, |between| {
            let namespace = Namespace::new()?;
            let count = |sockets: [&std::path::Path; 2]| {
                let [a, b] = sockets;
                let ends = [(a, &there), (b, &back)].map(|(socket, replay)| End {
                    socket,
                    sends: replay.path(),
                });
                let mut guests = Testpmd::ends(&namespace, &pages, cores, ends)?;
                guests.rate(&Testpmd::ENDS, Count::Received, choice.window())
            };
            match between {
                Between::Ours(keys) => {
                    let mut daemon = Daemon::new(&namespace)
                        .config(&config(keys))
                        .expect_socket("a")
                        .expect_socket("b")
                        .start()?;
                    cores.pin_backend(daemon.process().pid())?;
                    count([&daemon.socket("a"), &daemon.socket("b")])
                        .inspect_err(|_| eprintln!("daemon, {}", daemon.log()))
                }
                Between::Ovs(wiring) => {
                    let ovs = Ovs::start(&namespace, &pages, cores, wiring)?;
                    count([&ovs.socket(), &ovs.other_socket()])
                        .inspect_err(|_| eprintln!("switch, {}", ovs.log_tail()))
                }
                Between::Testpmd => {
                    let switch = Testpmd::switch(&namespace, &pages, cores, 2)?;
                    count([&switch.numbered_socket(0), &switch.numbered_socket(1)])
                        .inspect_err(|_| eprintln!("testpmd, {}", switch.log_tail()))
                }
            }
        })?;
    }
    Ok(())
}

fn config(keys: &str) -> String {
    format!(
        "[uplink.lan]\nkind = \"none\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\n{keys}\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\n{keys}\n"
    )
}
