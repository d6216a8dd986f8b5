//! `ring`: a guest's frames into nowhere: what taking them off the ring costs, with no tap behind it. Figures
//! are frames that the guest got rid of, by its own count.

use guest_tests::peers::{Cores, Count, HugePages, Load, Testpmd};
use guest_tests::{Daemon, Namespace, Result};

use crate::Stop;
use crate::carry::PAGES;
use crate::choice::Choice;
use crate::ours::GUEST;
use crate::race::Race;

const LENGTHS: [u16; 2] = [64, 1500];

/// Who takes the frames.
#[derive(Debug, Clone, Copy)]
enum Taker {
    /// Our daemon, all of it, with these keys for the guest and nobody to hand frames to.
    Ours(&'static str),
    /// testpmd's `rxonly` behind `net_vhost`.
    Vhost,
}

const CONTENDERS: [(&str, Taker); 3] = [
    ("ours", Taker::Ours("")),
    (
        "ours_limited",
        Taker::Ours("from_guest = { ceil = \"100gbit\" }"),
    ),
    ("dpdk_vhost", Taker::Vhost),
];

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let cores = Cores::first_two()?;
    let pages = HugePages::reserve(PAGES)?;
    for len in LENGTHS.into_iter().filter(|len| choice.has_size(*len)) {
        let race = Race {
            stop,
            choice,
            prefix: &format!("ring.{len}"),
            unit: "frames/s",
            references: &["dpdk_vhost"],
        };
        race.run(&CONTENDERS, |taker| {
            let namespace = Namespace::new()?;
            let count = |socket: &std::path::Path| {
                let load = Load::Frames { len };
                let mut guest = Testpmd::generator(&namespace, &pages, cores, socket, load)?;
                guest.rate(&[0], Count::Sent, choice.window())
            };
            match taker {
                Taker::Ours(keys) => {
                    let config =
                        format!("[uplink.lan]\nkind = \"none\"\n[guest.{GUEST}]\n{keys}\n");
                    let builder = Daemon::new(&namespace).config(&config);
                    let mut daemon = builder.expect_socket(GUEST).start()?;
                    cores.pin_backend(daemon.process().pid())?;
                    count(&daemon.socket(GUEST))
                        .inspect_err(|_| eprintln!("daemon, {}", daemon.log()))
                }
                Taker::Vhost => {
                    let sink = Testpmd::switch(&namespace, &pages, cores, 1)?;
                    count(&sink.numbered_socket(0))
                        .inspect_err(|_| eprintln!("testpmd, {}", sink.log_tail()))
                }
            }
        })?;
    }
    Ok(())
}
