//! Whatever comes, joined and cut again it is the same; and nothing hostile does any harm.

use proptest::prelude::*;

use super::*;
use crate::net::checksum::complete;
use crate::net::{ChecksumRequest, inspect_from_host};

/// What happens to a frame on its way.
#[derive(Clone, Debug)]
enum Mishap {
    Nothing,
    /// A bit of the virtio-net header or the frame.
    Flip(usize),
    Cut(usize),
    Padding(usize),
    /// A word of the frame's headers has another value, and all checksums are right again.
    Word(usize, u16),
    Lost,
    Twice,
    /// Its checksum is left to be finished although its neighbours' are not, or the other way round.
    Partial,
    NoChecksum,
}

#[derive(Clone, Debug)]
struct Step {
    flow: usize,
    len: usize,
    flags: u8,
    mishap: Mishap,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        20 => Just(Mishap::Nothing),
        2 => (0..80 * 8_usize).prop_map(Mishap::Flip),
        1 => (0..200 * 8_usize).prop_map(Mishap::Flip),
        1 => (0..120_usize).prop_map(Mishap::Cut),
        1 => (1..20_usize).prop_map(Mishap::Padding),
        3 => (0..40_usize, any::<u16>()).prop_map(|(at, value)| Mishap::Word(at, value)),
        2 => (0..40_usize, 0..3_u16).prop_map(|(at, value)| Mishap::Word(at, value)),
        1 => Just(Mishap::Lost),
        1 => Just(Mishap::Twice),
        1 => Just(Mishap::Partial),
        1 => Just(Mishap::NoChecksum),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![12 => Just(100_usize), 1 => Just(99), 1 => Just(48), 1 => 0..300_usize];
    let flags = prop_oneof![
        16 => Just(0_u8),
        1 => prop::sample::select(&[FIN, PSH, FIN | PSH, ECE, CWR, SYN, RST, URG, 0xff]),
    ];
    let flow = prop_oneof![10 => Just(0_usize), 1 => 0..3_usize];
    (flow, len, flags, mishap()).prop_map(|(flow, len, flags, mishap)| Step {
        flow,
        len,
        flags,
        mishap,
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let kind = prop::sample::select(&[Gso::Tcp4, Gso::Tcp6, Gso::Udp]);
    let shape = (any::<bool>(), 0..3_usize, 0..4_u8, any::<bool>());
    (kind, shape, any::<u16>(), any::<u32>()).prop_map(
        |(kind, (v6, tags, options, partial), id, sequence)| Flow {
            v6: kind == Gso::Tcp6 || kind == Gso::Udp && v6,
            tags: vec![5; tags],
            options,
            partial,
            id,
            sequence,
            ..Flow::new(kind)
        },
    )
}

/// Makes the checksums right wherever the flow has them.
fn right(flow: &Flow, frame: &mut [u8]) {
    let l4 = flow.l4();
    if !flow.v6 && frame.len() >= l4 {
        right_ipv4(&mut frame[l4 - 20..]);
    }
    let offset = if flow.kind == Gso::Udp { 6 } else { 16 };
    let Some(field) = frame.get_mut(l4 + offset..l4 + offset + 2) else {
        return;
    };
    field.fill(0);
    let addresses = if flow.v6 { 32 } else { 8 };
    let covered = u32::try_from(frame.len() - l4).unwrap();
    let seed = Sum::new()
        .bytes(&frame[l4 - addresses..l4])
        .word(if flow.kind == Gso::Udp { 17 } else { 6 })
        .word(covered)
        .fold();
    put16(frame, l4 + offset, seed).unwrap();
    if !flow.partial {
        let (start, offset) = (l4.try_into().unwrap(), offset.try_into().unwrap());
        assert!(complete(frame, ChecksumRequest { start, offset }));
    }
}

fn happen(flow: &mut Flow, step: &Step) -> Vec<Sent> {
    let payload: Vec<_> = (0..=255_u8).cycle().step_by(7).take(step.len).collect();
    if matches!(step.mishap, Mishap::Partial) {
        flow.partial = !flow.partial;
    }
    let (mut header, mut frame) = flow.next(&payload, step.flags);
    match step.mishap {
        Mishap::Nothing => {}
        Mishap::Flip(bit) if bit < HEADER_LEN * 8 => header[bit / 8] ^= 1 << (bit % 8),
        Mishap::Flip(bit) => {
            if let Some(byte) = frame.get_mut(bit / 8 - HEADER_LEN) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Mishap::Cut(len) => frame.truncate(frame.len().saturating_sub(len)),
        Mishap::Padding(len) => frame.extend(vec![0; len]),
        Mishap::Word(at, value) => {
            let at = 12 + 2 * at;
            if at < frame.len() - 1 {
                put16(&mut frame, at, value).unwrap();
            }
            right(flow, &mut frame);
        }
        Mishap::Lost => return Vec::new(),
        Mishap::Twice => return vec![(header, frame.clone()), (header, frame)],
        Mishap::Partial => flow.partial = !flow.partial,
        Mishap::NoChecksum => {
            let at = flow.l4() + if flow.kind == Gso::Udp { 6 } else { 16 };
            put16(&mut frame, at, 0).unwrap();
        }
    }
    vec![(header, frame)]
}

/// What is left of them after a guest's inspection, super-frames apart.
fn inspected(sent: Vec<Sent>) -> Vec<Sent> {
    let facts = |(header, frame): Sent| {
        let head = &frame[..frame.len().min(HEAD_LEN)];
        let len = u32::try_from(frame.len()).unwrap();
        let facts = inspect(&header, head, len, EVERY).ok()?;
        (facts.gso == Gso::None).then(|| (facts.header(), frame))
    };
    sent.into_iter().filter_map(facts).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn joined_and_cut_again_every_sequence_is_the_same(
        mut flows in prop::collection::vec(flow(), 3),
        steps in prop::collection::vec(step(), 1..40),
        most_bytes in prop_oneof![Just(65_536_u32), 60..2000_u32],
    ) {
        let sent: Vec<_> = steps
            .iter()
            .flat_map(|step| happen(&mut flows[step.flow], step))
            .collect();
        let sent = inspected(sent);
        if !sent.is_empty() {
            frames_in(&sent, Accepts { most_bytes, ..ALL });
        }
    }
}

/// Honest flows are not refused: that law alone would be obeyed by joining nothing.
#[test]
fn honest_flows_make_few_trains() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        let mut flow =
            proptest::strategy::ValueTree::current(&flow().new_tree(&mut runner).unwrap());
        let sent = run(&mut flow, &[100; 41]);
        let trains = frames_in(&sent, ALL);
        // A TCP checksum that happens to be zero stays out, once in 65536 frames.
        assert!(trains.len() <= 3, "{trains:?} of {flow:?}");
    }
}

/// Numbers without a pattern (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }
}

#[test]
fn a_million_hostile_frames_do_no_harm() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let honest: Vec<_> = kinds()
        .iter()
        .flat_map(|flow| run(&mut flow.clone(), &[100, 100, 60, 1]))
        .map(|sent| unit(&sent))
        .collect();
    let (mut train, mut open, mut out) = (Train::new(), Vec::new(), Part::new());
    let (mut joined, mut cut) = (0, 0);
    let mut next = Vec::new();
    for turn in 0..1_000_000 {
        // Mostly the neighbours that they are in honest flows.
        let stray = numbers.below(8) == 0;
        next.clone_from(
            &honest[if stray {
                numbers.below(honest.len())
            } else {
                turn % honest.len()
            }],
        );
        for _ in 0..numbers.below(8).saturating_sub(4) {
            let (at, bit) = (numbers.below(next.len().min(150)), numbers.below(8));
            next[at] ^= 1 << bit;
        }
        if numbers.below(8) == 0 {
            next.truncate(numbers.below(next.len() + 1));
        }
        let accepts = Accepts {
            zero_checksum_udp: numbers.below(2) == 0,
            most_bytes: [65_536, u32::MAX, 200, 0][numbers.below(4)],
            ..ALL
        };
        match train.join(&next) {
            Some(payload) => {
                joined += 1;
                open.extend_from_slice(&next[payload]);
            }
            None => {
                train.close(&mut open);
                cut += u32::from(hostile_cut(&open, &mut numbers, &mut out));
                open.clone_from(&next);
                train.open(&open, accepts);
            }
        }
    }
    assert!(joined > 1000 && cut > 1000, "{joined} {cut}");
}

/// Cuts a segment that may not be there out of what may be a super-frame.
fn hostile_cut(unit: &[u8], numbers: &mut Numbers, out: &mut Part) -> bool {
    let Some((header, frame)) = unit.split_first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let len = u32::try_from(frame.len()).unwrap();
    let head = &frame[..frame.len().min(HEAD_LEN)];
    let facts = if numbers.below(2) == 0 {
        inspect_from_host(header, head, len)
    } else {
        inspect(header, head, len, EVERY)
    };
    let Ok(facts) = facts else {
        return false;
    };
    let index = [0, 1, facts.segments, u32::MAX][numbers.below(4)];
    let (first, rest) = frame.split_at(numbers.below(frame.len() + 1));
    let (pieces, all) = ([first, rest], [first, rest.get(1..).unwrap_or_default()]);
    let pieces = if numbers.below(2) == 0 { pieces } else { all };
    segment(&facts, head, &pieces, index, numbers.below(2) == 0, out).is_ok()
}
