//! What is asked of all shards at once, taken apart by whom it is about.

use super::Homes;
use crate::shard::{Change, Inquiry, LanId, PortId};

/// The part of a change that is each shard's, if any. `old` says where everything was, `new` where it is
/// to be.
pub(super) fn change(
    change: Change,
    old: &Homes,
    new: &Homes,
    count: usize,
) -> Vec<Option<Change>> {
    let mut parts: Vec<Option<Change>> = Vec::new();
    parts.resize_with(count, || None);
    let mut part = |home: Option<&usize>, add: &mut dyn FnMut(&mut Change)| {
        if let Some(part) = home.and_then(|home| parts.get_mut(*home)) {
            add(part.get_or_insert_default());
        }
    };
    for id in change.ports_gone {
        part(old.ports.get(&id), &mut |part| part.ports_gone.push(id));
    }
    for id in change.lans_gone {
        part(old.lans.get(&id), &mut |part| part.lans_gone.push(id));
    }
    for lan in change.lans {
        let home = new.lans.get(&lan.id);
        let mut lan = Some(lan);
        part(home, &mut |part| part.lans.extend(lan.take()));
    }
    for port in change.ports {
        let home = new.lans.get(&port.lan);
        let mut port = Some(port);
        part(home, &mut |part| part.ports.extend(port.take()));
    }
    parts
}

/// Where the questions of an inquiry went.
#[derive(Debug)]
pub(super) struct Order {
    ports: Vec<usize>,
    lans: Vec<usize>,
}

/// The questions of each shard. One about what nobody serves goes to the first, who says so.
pub(super) fn inquiry(inquiry: Inquiry, homes: &Homes, count: usize) -> (Vec<Inquiry>, Order) {
    let mut parts = vec![Inquiry::default(); count];
    let mut order = Order {
        ports: Vec::with_capacity(inquiry.ports.len()),
        lans: Vec::with_capacity(inquiry.lans.len()),
    };
    let of_port = |id: PortId| homes.ports.get(&id).copied().unwrap_or(0);
    let of_lan = |id: LanId| homes.lans.get(&id).copied().unwrap_or(0);
    for port in inquiry.ports {
        let home = of_port(port.id);
        order.ports.push(home);
        parts[home].ports.push(port);
    }
    for lan in inquiry.lans {
        let home = of_lan(lan.id);
        order.lans.push(home);
        parts[home].lans.push(lan);
    }
    (parts, order)
}

impl Order {
    /// The answers of all, in the order of the questions.
    pub(super) fn merge(self, answers: Vec<Inquiry>) -> Inquiry {
        let (mut ports, mut lans) = (Vec::new(), Vec::new());
        for answer in answers {
            ports.push(answer.ports.into_iter());
            lans.push(answer.lans.into_iter());
        }
        Inquiry {
            ports: next_of(&self.ports, &mut ports),
            lans: next_of(&self.lans, &mut lans),
        }
    }
}

/// Takes the next item of whose turn it is.
fn next_of<T>(order: &[usize], items: &mut [std::vec::IntoIter<T>]) -> Vec<T> {
    let next = |home: &usize| items.get_mut(*home)?.next();
    order.iter().filter_map(next).collect()
}
