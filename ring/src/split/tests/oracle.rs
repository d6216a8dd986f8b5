//! Our ring beside virtio-queue's, on honest traffic: same chains, elements and signals.

use proptest::prelude::*;
use virtio_queue::{Queue, QueueT};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Add { lens: Vec<u16>, indirect: bool },
    Publish,
    Serve { count: u8, written: u16 },
    Collect { event: u16 },
    Kicks,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::collection::vec(1..2000_u16, 1..5), any::<bool>())
            .prop_map(|(lens, indirect)| Step::Add { lens, indirect }),
        3 => Just(Step::Publish),
        3 => (1..12_u8, any::<u16>()).prop_map(|(count, written)| Step::Serve { count, written }),
        2 => (0..6_u16).prop_map(|event| Step::Collect { event }),
        1 => Just(Step::Kicks),
    ]
}

/// The same driver twice, before our ring and before the oracle.
struct Pair {
    ours: Rig,
    theirs: Rig,
    queue: Queue,
    event_idx: bool,
    added: u64,
}

impl Pair {
    fn new(event_idx: bool, start: u16) -> Self {
        let options = RingOptions { event_idx, ..ALL };
        let ours = rig_at(16, options, start);
        let theirs = rig_at(16, options, start);
        let mut queue = Queue::new(16).unwrap();
        queue
            .try_set_desc_table_address(GuestAddress(theirs.layout.desc))
            .unwrap();
        queue
            .try_set_avail_ring_address(GuestAddress(theirs.layout.avail))
            .unwrap();
        queue
            .try_set_used_ring_address(GuestAddress(theirs.layout.used))
            .unwrap();
        queue.set_event_idx(event_idx);
        queue.set_next_avail(start);
        queue.set_next_used(start);
        queue.set_ready(true);
        Self {
            ours,
            theirs,
            queue,
            event_idx,
            added: 0,
        }
    }

    fn add(&mut self, lens: &[u16], indirect: bool) {
        let buffers: Vec<_> = lens
            .iter()
            .enumerate()
            .map(|(n, len)| Buffer::readable(DATA + 0x100 * n as u64, u32::from(*len)))
            .collect();
        let table = DATA + 0x1_0000 + 0x100 * (self.added % 64);
        self.added += 1;
        let heads = [&mut self.ours, &mut self.theirs].map(|rig| {
            if indirect {
                rig.driver.add_indirect(&buffers, table)
            } else {
                rig.driver.add(&buffers)
            }
        });
        assert_eq!(heads[0], heads[1]);
    }

    fn serve(&mut self, count: u8, written: u16) {
        let memory = Arc::clone(self.theirs.map.memory());
        for _ in 0..count {
            let popped = self.ours.pop().unwrap();
            let chain = self.queue.pop_descriptor_chain(memory.as_ref());
            assert_eq!(popped, chain.is_some());
            let Some(chain) = chain else { break };
            assert_eq!(self.ours.chain.verdict(), Ok(()));
            let head = chain.head_index();
            assert_eq!(self.ours.chain.head().0, head);
            let mut list = crate::memory::IoVecs::default();
            self.ours.chain.iovecs(0, &mut list);
            let own: Vec<_> = list.as_raw().iter().map(|v| v.iov_len).collect();
            let other: Vec<_> = chain.map(|d| d.len() as usize).collect();
            assert_eq!(own, other);
            let len = u32::from(written);
            self.ours.ring.complete(self.ours.chain.head(), len);
            self.queue.add_used(memory.as_ref(), head, len).unwrap();
        }
        let theirs = self.queue.needs_notification(memory.as_ref()).unwrap();
        let ours = self.ours.ring.publish();
        // Without event index the oracle ignores the flag and what was published.
        if self.event_idx {
            assert_eq!(ours, theirs);
        }
        assert_eq!(self.ours.driver.used_idx(), self.theirs.driver.used_idx());
        assert_eq!(self.ours.ring.next_avail(), self.queue.next_avail());
        assert_eq!(self.ours.ring.next_used(), self.queue.next_used());
    }

    fn kicks(&mut self) {
        // The oracle asks for a kick after what it popped, ours after what it has seen.
        if self.ours.ring.available().unwrap() > 0 {
            return;
        }
        let memory = Arc::clone(self.theirs.map.memory());
        let ours = self.ours.ring.enable_kicks().unwrap();
        let theirs = self.queue.enable_notification(memory.as_ref()).unwrap();
        assert_eq!(ours, theirs);
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Add { lens, indirect } => self.add(lens, *indirect),
            Step::Publish => {
                assert_eq!(self.ours.driver.publish(), self.theirs.driver.publish());
            }
            Step::Serve { count, written } => self.serve(*count, *written),
            Step::Collect { event } => loop {
                let used = self.ours.driver.collect();
                assert_eq!(used, self.theirs.driver.collect());
                if used.is_none() {
                    for rig in [&mut self.ours, &mut self.theirs] {
                        let at = rig.driver.used_idx().wrapping_add(*event);
                        rig.driver.set_used_event(at);
                    }
                    break;
                }
            },
            Step::Kicks => self.kicks(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn honest_rings_behave_like_virtio_queue(
        event_idx in any::<bool>(),
        start in prop_oneof![Just(0), Just(65530), any::<u16>()],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(event_idx, start);
        for step in &steps {
            pair.run(step);
        }
    }
}
