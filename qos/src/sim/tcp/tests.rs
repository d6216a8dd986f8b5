use super::*;

const MS: u64 = 1_000_000;

fn connection(segments: u32) -> Connection {
    Connection::new(&Tcp {
        segments,
        ..Tcp::default()
    })
}

fn all(connection: &mut Connection, now: u64) -> Vec<Burst> {
    std::iter::from_fn(|| connection.burst(now)).collect()
}

fn ack(burst: Burst) -> Ack {
    Ack {
        flow: 0,
        burst: burst.number,
        first: burst.first,
        count: burst.count,
        marked: false,
    }
}

#[test]
fn a_new_connection_sends_ten_segments_and_two_for_every_one_that_arrives() {
    let mut connection = connection(1);
    let sent = all(&mut connection, 0);
    assert_eq!(sent.len(), 10);
    let (rtt, new) = connection.acknowledge(ack(sent[0]), 20 * MS);
    assert_eq!((rtt, new), (Some(20 * MS), 1));
    assert_eq!(all(&mut connection, 20 * MS).len(), 2);
}

#[test]
fn super_frames_wait_for_a_third_of_the_window() {
    let mut connection = connection(45);
    let sent = all(&mut connection, 0);
    let counts: Vec<_> = sent.iter().map(|burst| burst.count).collect();
    assert_eq!(counts, [10]);
    let mut first = sent[0];
    first.count = 1;
    connection.acknowledge(ack(first), MS);
    assert_eq!(connection.burst(MS), None);
}

#[test]
fn what_a_later_arrival_overtook_is_sent_again_and_the_window_halves_once() {
    let mut connection = connection(1);
    let sent = all(&mut connection, 0);
    connection.acknowledge(ack(sent[2]), 20 * MS);
    connection.acknowledge(ack(sent[5]), 21 * MS);
    assert_eq!(connection.counters.reductions, 1);
    assert_eq!(connection.window.segments(), 5);
    for &burst in &sent[6..9] {
        connection.acknowledge(ack(burst), 22 * MS);
    }
    let again = all(&mut connection, 23 * MS);
    let firsts: Vec<_> = again.iter().map(|burst| burst.first).collect();
    assert_eq!(firsts, [0, 1, 3, 4]);
    assert_eq!(connection.counters.resent, 4);
}

#[test]
fn segments_dropped_off_the_head_of_a_super_frame_are_lost_alone() {
    let mut connection = connection(10);
    let sent = all(&mut connection, 0)[0];
    let rest = Ack {
        first: sent.first + 2,
        count: sent.count - 2,
        ..ack(sent)
    };
    connection.acknowledge(rest, 20 * MS);
    let again = connection.burst(20 * MS).unwrap();
    assert_eq!((again.first, again.count), (0, 2));
    connection.acknowledge(ack(again), 40 * MS);
    assert_eq!(connection.received.upto, 10);
    assert_eq!(connection.on_the_way, 0);
}

#[test]
fn a_timeout_gives_everything_up_and_late_arrivals_take_it_back() {
    let mut connection = connection(1);
    let sent = all(&mut connection, 0);
    assert_eq!(connection.timer(), Some(RTO_FIRST));
    assert_eq!(connection.timer(), None);
    connection.timeout(RTO_FIRST);
    assert_eq!(connection.counters.timeouts, 1);
    let again = all(&mut connection, RTO_FIRST);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].first, 0);
    assert_eq!(connection.timer(), Some(3 * RTO_FIRST));
    // The second segment had only been slow.
    connection.acknowledge(ack(sent[1]), RTO_FIRST + MS);
    let lost: Vec<_> = connection.lost.iter().map(|&(first, _)| first).collect();
    assert_eq!(lost, [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn marks_are_answered_once_per_round() {
    let mut connection = connection(1);
    let sent = all(&mut connection, 0);
    for &burst in &sent {
        let marked = Ack {
            marked: true,
            ..ack(burst)
        };
        connection.acknowledge(marked, 20 * MS);
    }
    assert_eq!(connection.counters.reductions, 1);
    assert_eq!(connection.window.segments(), 5);
    assert_eq!(connection.counters.resent, 0);
}

#[test]
fn the_receiver_counts_every_segment_once() {
    let mut received = Received::default();
    assert_eq!(received.take(5, 5), 5);
    assert_eq!(received.take(12, 2), 2);
    assert_eq!(received.take(7, 6), 2);
    assert_eq!(received.take(3, 20), 11);
    assert_eq!(received.take(0, 4), 3);
    assert_eq!((received.upto, received.beyond.len()), (23, 0));
    assert_eq!(received.take(0, 23), 0);
}

#[test]
fn a_transfer_of_known_size_ends() {
    let mut connection = Connection::new(&Tcp {
        bytes: Some(3 * 1448 - 1),
        ..Tcp::default()
    });
    let sent = all(&mut connection, 0);
    assert_eq!(sent.len(), 3);
    for burst in sent {
        assert!(!connection.done());
        connection.acknowledge(ack(burst), MS);
    }
    assert!(connection.done());
    assert_eq!(connection.timer.due, u64::MAX);
}
