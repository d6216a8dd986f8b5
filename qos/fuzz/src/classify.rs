//! The classifier: rules and frames drawn from bytes, the compiled against the interpreted; and frames
//! that are only bytes.
#![allow(clippy::unwrap_used)] // in a model, too, a panic is a finding

mod common;

use qos::classify::{Classifier, Dscp, EtherType, Fate, Headers, Verdict, rewrite};
use qos::{FrameShape, Framing, Span, Time};

use common::Rng;
use common::frames::{Spec, pick};
use common::naive::{Naive, Sight};
use common::rules::{ROOT, child, random_config, tree, untouched};

/// Frames of one run at most.
const FRAMES: usize = 64;

pub(crate) fn run(data: &[u8]) {
    let mut rng = Rng::new(data);
    let config = random_config(&mut rng);
    crate::show(&config);
    let mut classifier = Classifier::new(&tree(), &config).expect("rules that can run");
    let mut naive = Naive::new(&config);
    let mut now = Time::ZERO;
    for _ in 0..FRAMES {
        let (spec, mark) = (
            Spec::random(&mut rng),
            pick(&mut rng, &[0, 1, 0x11, 0xffff]),
        );
        let (mut bytes, _) = spec.bytes();
        let len = u32::try_from(bytes.len()).unwrap();
        let class = pick(&mut rng, &[ROOT, child(ROOT, 1), child(ROOT, 2)]);
        let entry = classifier.entry(class).unwrap();
        let cost = Framing::ETHERNET.cost(FrameShape::single(len));
        let headers = Headers::parse(&bytes, len, mark);
        let got = classifier.classify_from(entry, &headers, cost, now);
        let sight = Sight { spec: &spec, len };
        let want = naive.run(untouched(class, mark), &sight, cost, now);
        assert_eq!(got, want, "{spec:?}");
        rewritten(&mut bytes, &got);
        now = now.saturating_add(Span::from_nanos(rng.below(1_000_000)));
        if rng.is_empty() {
            break;
        }
    }
    for counters in classifier.counters() {
        let matches = naive.matches.get(&counters.place).copied();
        let policed = naive.policed.get(&counters.place).copied();
        assert_eq!(counters.matches, matches.unwrap_or(0));
        assert_eq!(counters.policed, policed.unwrap_or(0));
    }
    // The rest is a frame, whatever it says; and so are all bytes, with all that may be set set.
    raw(&mut classifier, rng.rest(), now);
    raw(&mut classifier, data, now);
}

/// A frame of arbitrary bytes, of which more or fewer may be known.
fn raw(classifier: &mut Classifier, bytes: &[u8], now: Time) {
    let Some((&claim, head)) = bytes.split_first() else {
        return;
    };
    let whole = u32::try_from(head.len()).unwrap();
    let len = match claim % 4 {
        0 => u32::MAX,
        1 => whole / 2,
        _ => whole,
    };
    let headers = Headers::parse(head, len, claim.into());
    assert_eq!(
        headers.source_port.is_some(),
        headers.destination_port.is_some()
    );
    assert_eq!(headers.source.is_some(), headers.destination.is_some());
    assert!(headers.tcp_flags.is_none() || headers.source_port.is_some());
    if len <= whole {
        let frame = &head[..usize::try_from(len).unwrap()];
        let beyond = [frame, &[claim; 64]].concat();
        assert_eq!(
            Headers::parse(frame, len, 0),
            Headers::parse(&beyond, len, 0)
        );
    }
    let cost = Framing::ETHERNET.cost(FrameShape::single(len));
    let verdict = classifier.classify(&headers, cost, now).unwrap();
    rewritten(&mut head.to_vec(), &verdict);
    let all = Verdict {
        set_dscp: Some(Dscp::of_octet(claim)),
        set_vlan_priority: Some(claim & 7),
        fate: Fate::Leaf(ROOT),
        ..verdict
    };
    rewritten(&mut head.to_vec(), &all);
}

/// Rewriting sets what it says, nothing else, and keeps a checksum as right or wrong as it was.
fn rewritten(bytes: &mut [u8], verdict: &Verdict) {
    let len = u32::try_from(bytes.len()).unwrap();
    let before = bytes.to_vec();
    let old = Headers::parse(bytes, len, 0);
    let sum = checksum(bytes);
    rewrite::apply(bytes, verdict);
    let marked = rewrite::mark_ce(bytes);
    assert_eq!(checksum(bytes), sum, "the checksum");
    let new = Headers::parse(bytes, len, 0);
    let mut want = old;
    if old.dscp.is_some() {
        want.dscp = verdict.set_dscp.or(old.dscp);
        let capable = old.ecn != Some(0);
        assert_eq!(marked, capable, "a mark where it may be");
        want.ecn = if capable { Some(3) } else { old.ecn };
    }
    if let (Some(tag), Some(priority)) = (&mut want.vlan, verdict.set_vlan_priority) {
        tag.priority = priority;
    }
    assert_eq!(new, want);
    let changed = bytes.iter().zip(&before).filter(|(new, old)| new != old);
    assert!(
        changed.count() <= 4,
        "priority, checksum and a class across two octets"
    );
}

/// The sum of an IPv4 header's words, its checksum among them, in ones' complement: zero or all ones
/// if it is right. None for what is no IPv4.
fn checksum(frame: &[u8]) -> Option<u16> {
    let mut at = 12;
    for _ in 0..2 {
        let ethertype = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
        if EtherType::new(ethertype).is_some_and(EtherType::is_tag) {
            at += 4;
        }
    }
    let packet = frame.get(at..)?.strip_prefix(&[8, 0])?;
    let words = usize::from(packet.first()? & 15) * 2;
    let header = packet.get(..words * 2)?;
    let word = |two: &[u8]| u32::from(u16::from_be_bytes([two[0], two[1]]));
    let sum: u32 = header.chunks_exact(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    // 0 and 0xffff are the same number.
    u16::try_from(((folded & 0xffff) + (folded >> 16)) % 0xffff).ok()
}
