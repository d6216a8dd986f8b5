//! What joins and what does not; cutting again gives back what came.

mod identity;

use super::*;
use crate::net::frames::EVERY;
use crate::net::{HEAD_LEN, inspect};
use crate::surgery::flow::{Flow, right_ipv4};
use crate::surgery::reference::{Sent, finish};
use crate::surgery::{CWR, ECE, FIN, PSH, Part, RST, SYN, URG, segment};

const ALL: Accepts = Accepts {
    tcp4: true,
    tcp6: true,
    udp: true,
    zero_checksum_udp: false,
    most_bytes: 65_536,
};

fn unit((header, frame): &Sent) -> Vec<u8> {
    [&header[..], frame].concat()
}

/// The units that leave when those come one after the other.
fn coalesced(sent: &[Sent], accepts: Accepts) -> Vec<Sent> {
    let mut train = Train::new();
    let mut open: Vec<u8> = Vec::new();
    let mut left = Vec::new();
    for sent in sent {
        let next = unit(sent);
        if let Some(payload) = train.join(&next) {
            open.extend(&next[payload]);
            continue;
        }
        train.close(&mut open);
        left.push(std::mem::replace(&mut open, next));
        train.open(&open, accepts);
    }
    train.close(&mut open);
    left.push(open);
    left.iter()
        .skip(1)
        .map(|unit| (*unit.first_chunk().unwrap(), unit[HEADER_LEN..].to_vec()))
        .collect()
}

/// What the wire carries, cut by [`segment`] with the frame in pieces.
fn on_the_wire(sent: &Sent) -> Vec<Vec<u8>> {
    let (header, frame) = sent;
    let head = &frame[..frame.len().min(HEAD_LEN)];
    let len = u32::try_from(frame.len()).unwrap();
    let Ok(facts) = inspect(header, head, len, EVERY) else {
        return vec![frame.clone()];
    };
    if facts.gso == Gso::None {
        let mut frame = frame.clone();
        if let Some(request) = facts.checksum {
            finish(&mut frame, request);
        }
        return vec![frame];
    }
    let pieces: Vec<_> = frame.chunks(333).collect();
    let mut out = Part::new();
    let segments = (0..facts.segments).map(|index| {
        let payload = segment(&facts, head, &pieces, index, true, &mut out).unwrap();
        let payload = payload.start as usize..payload.end as usize;
        [out.headers(), &frame[payload]].concat()
    });
    segments.collect()
}

fn frames_in(sent: &[Sent], accepts: Accepts) -> Vec<usize> {
    let left = coalesced(sent, accepts);
    let wire: Vec<_> = left.iter().map(on_the_wire).collect();
    let before: Vec<_> = sent.iter().flat_map(on_the_wire).collect();
    assert!(wire.concat() == before, "the wire carries something else");
    wire.iter().map(Vec::len).collect()
}

fn kinds() -> Vec<Flow> {
    let mut flows: Vec<_> = [Gso::Tcp4, Gso::Tcp6, Gso::Udp].map(Flow::new).to_vec();
    flows.push(Flow {
        v6: true,
        ..Flow::new(Gso::Udp)
    });
    let tagged = flows.iter().map(|flow| Flow {
        tags: vec![7, 9],
        options: 3,
        ..flow.clone()
    });
    let mut flows: Vec<_> = tagged.chain(flows.clone()).collect();
    let partial = flows.iter().map(|flow| Flow {
        partial: true,
        ..flow.clone()
    });
    flows.extend(partial.collect::<Vec<_>>());
    flows
}

fn run(flow: &mut Flow, payloads: &[usize]) -> Vec<Sent> {
    payloads
        .iter()
        .map(|len| flow.next(&vec![u8::try_from(len % 251).unwrap(); *len], 0))
        .collect()
}

#[test]
fn neighbours_join_and_a_shorter_one_is_the_last() {
    for mut flow in kinds() {
        let sent = run(&mut flow, &[100, 100, 100, 99, 100, 100, 101]);
        assert_eq!(frames_in(&sent, ALL), [4, 2, 1], "{flow:?}");
        let none = Accepts {
            most_bytes: 65_536,
            ..Accepts::default()
        };
        assert_eq!(frames_in(&sent, none), [1; 7]);
    }
}

#[test]
fn fin_and_psh_end_a_train_and_other_flags_stop_it() {
    for kind in [Gso::Tcp4, Gso::Tcp6] {
        for (flags, after, trains) in [
            (FIN, 0, vec![3, 2]),
            (PSH, 0, vec![3, 2]),
            (FIN | PSH, 0, vec![3, 2]),
            (ECE, ECE, vec![2, 3]),
            (SYN, 0, vec![2, 1, 2]),
            (RST, 0, vec![2, 1, 2]),
            (URG, 0, vec![2, 1, 2]),
            (CWR, 0, vec![2, 1, 2]),
            (CWR, CWR, vec![2, 1, 1, 1]),
        ] {
            let mut flow = Flow::new(kind);
            let mut sent = run(&mut flow, &[100, 100]);
            for flags in [flags, after, after] {
                sent.push(flow.next(&[1; 100], flags));
            }
            assert_eq!(frames_in(&sent, ALL), trains, "{flags:x}");
        }
    }
}

/// Every bit of the headers and the first ones of the payload.
#[test]
fn a_flipped_bit_keeps_a_frame_out() {
    for flow in kinds() {
        let good = run(&mut flow.clone(), &[100, 100, 100]);
        let headers = good[0].1.len() - 100;
        for at in 0..(headers + 8) * 8 {
            for index in 0..3 {
                let mut sent = good.clone();
                sent[index].1[at / 8] ^= 1 << (at % 8);
                // The sum in a partial frame is the pseudo-header's: it covers neither the payload
                // nor the flags, of which two may end a train.
                let flags = flow.l4() * 8 + 13 * 8;
                let ends = flow.kind != Gso::Udp && [flags, flags + 3].contains(&at) && index == 2;
                let joins = flow.partial && (at / 8 >= headers || ends);
                let trains = frames_in(&sent, ALL);
                assert_eq!(trains == [3], joins, "bit {at} of {index} in {flow:?}");
                assert!(joins || trains.len() > 1);
            }
        }
    }
}

/// The same with checksums that are right again.
#[test]
fn what_segmentation_would_not_give_back_keeps_a_frame_out() {
    let good = run(&mut Flow::new(Gso::Tcp4), &[100, 100, 100]);
    // Identification, TTL, type of service, DF: the header checksum is right, TCP's not concerned.
    for (at, bit) in [(4, 1), (5, 1), (8, 1), (1, 1), (1, 0x80), (6, 0x40)] {
        let mut sent = good.clone();
        sent[1].1[14 + at] ^= bit;
        right_ipv4(&mut sent[1].1[14..]);
        assert_eq!(frames_in(&sent, ALL), [1, 1, 1], "{at}");
    }
    // A shift of one word into another in the TCP header: its sum is the same.
    for (from, to) in [(4, 6), (8, 10), (14, 18)] {
        let mut sent = good.clone();
        let l4 = &mut sent[1].1[34..];
        let word = |l4: &[u8], at: usize| u16::from_be_bytes([l4[at], l4[at + 1]]);
        let (a, b) = (word(l4, from), word(l4, to));
        assert_ne!(a, b);
        put16(l4, from, b).unwrap();
        put16(l4, to, a).unwrap();
        assert_eq!(frames_in(&sent, ALL), [1, 1, 1], "{from}");
    }
}

#[test]
fn fragments_stay_alone_though_they_are_alike() {
    for (at, bit) in [(6, 0x20), (7, 1), (6, 0x10)] {
        for kind in [Gso::Tcp4, Gso::Udp] {
            let mut sent = run(&mut Flow::new(kind), &[100, 100, 100]);
            for (_, frame) in &mut sent {
                frame[14 + at] |= bit;
                right_ipv4(&mut frame[14..]);
            }
            assert_eq!(frames_in(&sent, ALL), [1, 1, 1]);
        }
    }
}

#[test]
fn a_request_for_another_checksum_opens_no_train() {
    let mut flow = Flow {
        partial: true,
        ..Flow::new(Gso::Tcp4)
    };
    let mut sent = run(&mut flow, &[100, 100, 100]);
    for (header, _) in &mut sent {
        header[6] += 8;
    }
    assert_eq!(frames_in(&sent, ALL), [1, 1, 1]);
}

#[test]
fn a_tcp_checksum_of_zero_has_two_forms_and_stays_alone() {
    for (kind, trains) in [
        (Gso::Tcp4, vec![1, 1, 1]),
        (Gso::Tcp6, vec![1, 1, 1]),
        (Gso::Udp, vec![3]),
    ] {
        let mut flow = Flow::new(kind);
        let mut sent = run(&mut flow, &[100]);
        let mut payload = vec![0; 100];
        let at = flow.l4() + if kind == Gso::Udp { 6 } else { 16 };
        let (_, frame) = flow.clone().next(&payload, 0);
        payload[..2].copy_from_slice(&frame[at..at + 2]);
        sent.push(flow.next(&payload, 0));
        assert_eq!(sent[1].1[at..at + 2], [0xff, 0xff]);
        sent.push(flow.next(&payload, 0));
        assert_eq!(frames_in(&sent, ALL), trains);
        sent[1].1[at..at + 2].fill(0);
        assert_eq!(frames_in(&sent, ALL), [1, 1, 1]);
    }
}

#[test]
fn padding_keeps_a_frame_out() {
    for flow in kinds() {
        for index in 0..3 {
            let mut sent = run(&mut flow.clone(), &[60, 60, 60]);
            sent[index].1.push(0);
            assert!(frames_in(&sent, ALL).len() > 1, "{index}");
        }
    }
}

#[test]
fn nothing_follows_without_payload_or_a_right_order() {
    for kind in [Gso::Tcp4, Gso::Tcp6] {
        let mut flow = Flow::new(kind);
        let mut sent = run(&mut flow, &[100, 0, 100, 100]);
        assert_eq!(frames_in(&sent, ALL), [1, 1, 2]);
        sent.swap(2, 3);
        assert_eq!(frames_in(&sent, ALL), [1, 1, 1, 1]);
        let again = [sent[2].clone(), sent[2].clone()];
        assert_eq!(frames_in(&again, ALL), [1, 1]);
        // Super-frames of less than this are refused from guests.
        assert_eq!(frames_in(&run(&mut flow, &[47, 47]), ALL), [1, 1]);
        assert_eq!(frames_in(&run(&mut flow, &[48, 48, 1]), ALL), [3]);
    }
}

#[test]
fn a_train_ends_at_its_longest() {
    for mut flow in kinds() {
        let headers = run(&mut flow.clone(), &[100])[0].1.len() - 100;
        let accepts = Accepts {
            most_bytes: u32::try_from(headers).unwrap() + 400,
            ..ALL
        };
        assert_eq!(frames_in(&run(&mut flow, &[100; 9]), accepts), [4, 4, 1]);
        let trains = frames_in(&run(&mut flow, &[1400; 100]), ALL);
        let most = (65_535 - if flow.v6 { 40 } else { 20 } - 20) / 1400;
        assert!(trains[0] <= most && trains[0] >= most - 1, "{trains:?}");
        assert_eq!(trains.iter().sum::<usize>(), 100);
        if flow.kind == Gso::Udp {
            assert_eq!(frames_in(&run(&mut flow, &[18; 130]), ALL), [64, 64, 2]);
        }
    }
}

#[test]
fn datagrams_without_a_checksum_join_only_if_the_operator_asks() {
    for v6 in [false, true] {
        let mut flow = Flow {
            v6,
            ..Flow::new(Gso::Udp)
        };
        let mut sent = run(&mut flow, &[100, 100, 100]);
        let right = sent.clone();
        let at = sent[0].1.len() - 102;
        for (_, frame) in &mut sent {
            frame[at..at + 2].fill(0);
        }
        assert_eq!(frames_in(&sent, ALL), [1, 1, 1]);
        let asked = Accepts {
            zero_checksum_udp: true,
            ..ALL
        };
        let whole = coalesced(&sent, asked);
        assert_eq!(whole.len(), 1);
        assert_eq!(on_the_wire(&whole[0]), right.frames());
        sent[1] = right[1].clone();
        assert_eq!(frames_in(&sent, asked), [1, 1, 1]);
    }
}

trait Frames {
    fn frames(&self) -> Vec<Vec<u8>>;
}

impl Frames for Vec<Sent> {
    fn frames(&self) -> Vec<Vec<u8>> {
        self.iter().map(|(_, frame)| frame.clone()).collect()
    }
}

#[test]
fn partial_and_complete_checksums_do_not_mix() {
    for kind in [Gso::Tcp4, Gso::Tcp6, Gso::Udp] {
        let mut flow = Flow::new(kind);
        let mut sent = run(&mut flow, &[100]);
        flow.partial = true;
        sent.extend(run(&mut flow, &[100, 100]));
        flow.partial = false;
        sent.extend(run(&mut flow, &[100]));
        assert_eq!(frames_in(&sent, ALL), [1, 2, 1]);
        // Asking for another checksum than the transport's own.
        for at in 6..10 {
            for index in 1..3 {
                let mut sent = sent.clone();
                sent[index].0[at] ^= 4;
                let left = coalesced(&sent, ALL).len();
                assert_eq!(left, 4);
            }
        }
    }
}

#[test]
fn the_header_of_the_whole_stands_a_guests_inspection() {
    for mut flow in kinds() {
        let left = coalesced(&run(&mut flow, &[100; 5]), ALL);
        let [(header, frame)] = &left[..] else {
            panic!("{} units", left.len());
        };
        let len = u32::try_from(frame.len()).unwrap();
        let facts = inspect(header, frame, len, EVERY).unwrap();
        assert_eq!((facts.gso, facts.segments), (flow.kind, 5));
        assert_eq!(facts.header(), *header);
    }
}
