//! Watches the links of the host: which appear, vanish, go up or down, and have a carrier.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use super::UplinkError;
use super::netlink::{Link, Netlink, News, Report};

/// What happened to one link of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Its interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up, as its administrator wants it.
    pub up: bool,
    /// Whether it has a carrier: frames pass if it is up as well.
    pub carrier: bool,
    /// It is no more: an [`Uplink`](super::Uplink) of this index must be opened again, once an event with
    /// `appeared` has its name.
    pub gone: bool,
    /// It is new under this name: it was made, renamed, or moved here.
    pub appeared: bool,
}

/// Tells of changes since it was made. Make it before the uplinks that it watches, so that nothing happens
/// unseen, and before privileges are given up.
#[derive(Debug)]
pub struct LinkMonitor {
    news: News,
    netlink: Netlink,
    known: Known,
}

impl LinkMonitor {
    /// Starts watching this thread's network namespace; needs no capability.
    pub fn new() -> Result<Self, UplinkError> {
        // In this order, what changes in between is at worst told twice.
        let news = News::open().map_err(UplinkError::netlink("watch links"))?;
        let mut netlink = Netlink::open().map_err(UplinkError::netlink("open a socket"))?;
        let links = netlink
            .links()
            .map_err(UplinkError::netlink("list links"))?;
        let mut known = Known::default();
        known.replace(links);
        Ok(Self {
            news,
            netlink,
            known,
        })
    }

    /// Readable when [`LinkMonitor::events`] has something to tell.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.news.fd()
    }

    /// What happened since the last call, in order; does not block. A change that was undone before it
    /// was looked at may be missing, and what is no change is not told. If the kernel had to drop news,
    /// all links are read anew and compared.
    pub fn events(&mut self) -> Result<impl Iterator<Item = LinkEvent> + use<>, UplinkError> {
        let mut events = Vec::new();
        loop {
            match self.news.next() {
                Ok(reports) => events.extend(
                    reports
                        .into_iter()
                        .filter_map(|report| self.known.learn(report)),
                ),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    let links = self.netlink.links();
                    let links = links.map_err(UplinkError::netlink("list links"))?;
                    events.extend(self.known.replace(links));
                }
                Err(error) => return Err(UplinkError::netlink("watch links")(error)),
            }
        }
        Ok(events.into_iter())
    }
}

/// The links as last told, by index.
#[derive(Debug, Default)]
struct Known(BTreeMap<u32, State>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    name: String,
    up: bool,
    carrier: bool,
}

impl State {
    fn event(self, index: u32) -> LinkEvent {
        LinkEvent {
            index,
            name: self.name,
            up: self.up,
            carrier: self.carrier,
            gone: false,
            appeared: false,
        }
    }
}

impl Known {
    fn learn(&mut self, report: Report) -> Option<LinkEvent> {
        match report {
            Report::Is(link) => self.is(link),
            Report::Gone(index) => self.gone(index),
        }
    }

    fn is(&mut self, link: Link) -> Option<LinkEvent> {
        let now = State {
            name: link.name,
            up: link.up,
            carrier: link.carrier,
        };
        let before = self.0.insert(link.index, now.clone());
        let appeared = before.as_ref().is_none_or(|state| state.name != now.name);
        let changed = before.as_ref() != Some(&now);
        changed.then(|| LinkEvent {
            appeared,
            ..now.event(link.index)
        })
    }

    fn gone(&mut self, index: u32) -> Option<LinkEvent> {
        let state = self.0.remove(&index)?;
        Some(LinkEvent {
            up: false,
            carrier: false,
            gone: true,
            ..state.event(index)
        })
    }

    /// Takes over a full list. Those that are gone come first, since their names may have returned.
    fn replace(&mut self, links: Vec<Link>) -> Vec<LinkEvent> {
        let left = |index: &u32| links.iter().all(|link| link.index != *index);
        let gone: Vec<u32> = self.0.keys().copied().filter(left).collect();
        let mut events: Vec<LinkEvent> = gone.into_iter().filter_map(|i| self.gone(i)).collect();
        events.extend(links.into_iter().filter_map(|link| self.is(link)));
        events
    }
}
