//! Who goes before whom, and who gets how much.
#![allow(clippy::cast_possible_truncation)] // random numbers below small bounds

use super::*;

/// Offers frames of this flow and host until it has `depth` waiting, all the time, and counts what
/// each host and flow got of `sends` frames.
fn shares(flows: FlowsConfig, who: &[(u32, u32, FrameShape)], sends: usize) -> Vec<u64> {
    let mut link = Link::new("100mbit", flows);
    let mut bytes = vec![0; who.len()];
    let mut waiting = vec![0; who.len()];
    for _ in 0..sends {
        for (at, &(flow, host, shape)) in who.iter().enumerate() {
            while waiting[at] < 20 {
                let frame = Frame::new(at as u64, shape).flow(flow).host(host);
                let now = Time::from_nanos(link.now);
                let frame = frame.ecn(Ecn::Ect0);
                assert_eq!(link.engine.offer(link.leaf, frame, now), Offer::Queued);
                waiting[at] += 1;
            }
        }
        let grant = loop {
            match link.engine.peek(Time::from_nanos(link.now)) {
                Some(grant) => break grant,
                None => link.next(),
            }
        };
        let frame = grant.frame.unwrap();
        let at = usize::try_from(frame.token).unwrap();
        bytes[at] += grant.framing.cost(frame.shape).wire_bytes;
        waiting[at] -= 1;
        link.engine.commit(frame.shape);
    }
    bytes
}

fn assert_near(a: u64, b: u64, slack: u64) {
    assert!(a.abs_diff(b) <= slack, "{a} and {b}");
}

const SUPER: FrameShape = FrameShape {
    len: 66 + 44 * 1448,
    headers: 66,
    gso_size: 1448,
};

#[test]
fn one_flow_gets_as_much_as_nine_of_another_host() {
    let who: Vec<_> = (0..10_u32)
        .map(|n| (n << 26, u32::from(n > 0) << 31, FULL))
        .collect();
    let flows = FlowsConfig {
        host_isolation: true,
        ..FlowsConfig::default()
    };
    let bytes = shares(flows, &who, 9000);
    let nine: u64 = bytes[1..].iter().sum();
    assert_near(bytes[0], nine, 2 * 1538);
    for &one in &bytes[1..] {
        assert_near(one, nine / 9, 2 * 1538);
    }
    let bytes = shares(FlowsConfig::default(), &who, 9000);
    assert_near(bytes[0], bytes[1..].iter().sum::<u64>() / 9, 2 * 1538);
}

#[test]
fn hosts_share_by_bytes_whatever_their_frames() {
    let flows = FlowsConfig {
        host_isolation: true,
        ..FlowsConfig::default()
    };
    let who = [
        (0, 0, SUPER),
        (1 << 26, 1 << 31, FrameShape::single(60)),
        (2 << 26, 1 << 31, FULL),
    ];
    let bytes = shares(flows, &who, 100_000);
    // A super-frame at a time, at both levels.
    assert_near(bytes[0], bytes[1] + bytes[2], 4 * 67_672);
    assert_near(bytes[1], bytes[2], 4 * 67_672);
}

#[test]
fn flows_share_by_what_they_cost_on_the_wire() {
    let who = [
        (0, 0, SUPER),
        (1 << 26, 0, FULL),
        (2 << 26, 0, FrameShape::single(60)),
    ];
    let bytes = shares(FlowsConfig::default(), &who, 100_000);
    for &one in &bytes {
        assert_near(one, bytes[0], 2 * 67_672);
    }
}

#[test]
fn more_hosts_and_flows_than_places_still_all_get_something() {
    let flows = FlowsConfig {
        buckets: 3,
        host_isolation: true,
        ..FlowsConfig::default()
    };
    let mut random = Random(3);
    let mut hash = || random.below(1 << 31) as u32 * 2;
    let who: Vec<_> = (0..30).map(|_| (hash(), hash(), FULL)).collect();
    let bytes = shares(flows, &who, 3000);
    assert!(bytes.iter().all(|&bytes| bytes > 10 * 1538), "{bytes:?}");
}

#[test]
fn flows_whose_hashes_meet_stay_apart_while_there_is_room() {
    // All name the same bucket, and eight find one.
    let who: Vec<_> = (0..8).map(|n| (n, 0, FULL)).collect();
    let bytes = shares(FlowsConfig::default(), &who, 800);
    for &one in &bytes {
        assert_near(one, bytes[0], 1538);
    }
}

/// Thirty bulky flows that always have super-frames.
struct Crowd {
    link: Link,
    waiting: [u32; 30],
}

impl Crowd {
    fn refill(&mut self) {
        for (flow, waiting) in (0..).zip(&mut self.waiting) {
            while *waiting < 3 {
                let frame = Frame::new(flow, SUPER).flow((flow as u32) << 26);
                let now = Time::from_nanos(self.link.now);
                let frame = frame.ecn(Ecn::Ect0);
                let offer = self.link.engine.offer(self.link.leaf, frame, now);
                assert_eq!(offer, Offer::Queued);
                *waiting += 1;
            }
        }
    }

    fn grant(&mut self) -> crate::engine::Grant {
        loop {
            match self.link.engine.peek(Time::from_nanos(self.link.now)) {
                Some(grant) => return grant,
                None => self.link.next(),
            }
        }
    }

    fn commit(&mut self, grant: &crate::engine::Grant) {
        if let Some(done) = self.link.engine.commit(part(grant))
            && let Some(waiting) = self.waiting.get_mut(done.token as usize)
        {
            *waiting -= 1;
        }
    }

    fn send(&mut self, parts: u64) {
        for _ in 0..parts {
            self.refill();
            let grant = self.grant();
            self.commit(&grant);
        }
    }
}

#[test]
fn a_sparse_flow_waits_for_one_unit_at_most() {
    let mut crowd = Crowd {
        link: Link::new("100mbit", FlowsConfig::default()),
        waiting: [0; 30],
    };
    let mut random = Random(11);
    // All are new at first, until each had its turn.
    crowd.send(60);
    for round in 0..2000 {
        // It may come between a grant and its commit, and has to wait for that frame only.
        let granted = (round % 2 == 0).then(|| crowd.grant());
        let sparse = Frame::new(99, FrameShape::single(60 + round % 100)).flow(63 << 26);
        let now = Time::from_nanos(crowd.link.now);
        let offer = crowd.link.engine.offer(crowd.link.leaf, sparse, now);
        assert_eq!(offer, Offer::Queued);
        if let Some(grant) = granted {
            crowd.commit(&grant);
        }
        let grant = crowd.grant();
        assert_eq!(grant.frame, Some(sparse), "round {round}");
        crowd.commit(&grant);
        // Long enough for its bucket to be found empty, so that it is new again.
        crowd.send(31 + random.below(100));
    }
}

fn part(grant: &crate::engine::Grant) -> FrameShape {
    let shape = grant.frame.unwrap().shape;
    let part = shape.peel(grant.segments(shape));
    part.map_or(shape, |(part, _)| part)
}

#[test]
fn a_flow_cannot_be_new_for_ever() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    let mut sent = [0_u32; 2];
    let _ = link.offer(1, true);
    for _ in 0..2000 {
        // One always has frames; the other runs empty each time and comes back at once.
        while link.engine.snapshot()[1].queued < 20 {
            let _ = link.offer(0, true);
        }
        for (flow, _) in link.send() {
            sent[flow as usize] += 1;
            if flow == 1 {
                let _ = link.offer(1, true);
            }
        }
        link.next();
    }
    assert!(sent[0] > 900 && sent[0].abs_diff(sent[1]) <= 2, "{sent:?}");
}

#[test]
fn flows_that_run_empty_by_turns_do_not_starve_another() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    let mut sent = [0_u32; 3];
    let _ = link.offer(1, true);
    for _ in 0..2000 {
        while link.engine.snapshot()[1].queued < 20 {
            let _ = link.offer(0, true);
        }
        while let Some(grant) = link.engine.peek(Time::from_nanos(link.now)) {
            let frame = grant.frame.unwrap();
            link.engine.commit(frame.shape);
            let flow = frame.flow >> 26;
            sent[flow as usize] += 1;
            // When one was served the other comes, before the first is found empty.
            if flow > 0 {
                let small = Frame::new(0, FrameShape::single(60)).flow((3 - flow) << 26);
                let now = Time::from_nanos(link.now);
                assert_eq!(link.engine.offer(link.leaf, small, now), Offer::Queued);
            }
        }
        link.next();
    }
    // In bytes of the wire, however many frames that makes.
    let bytes = [sent[0] * 1538, sent[1] * 84, sent[2] * 84];
    assert!(bytes[0] + 2 * 1538 > bytes[1].max(bytes[2]), "{bytes:?}");
}
