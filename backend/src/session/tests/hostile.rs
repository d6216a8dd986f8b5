//! The hostile rows that concern the socket's messages, against the pure machine.

use super::support::*;
use crate::session::Request::*;
use crate::session::{
    CloseReason, HEADER_LEN, Header, Kind, MAX_BODY, Malformed, Message, Refusal, Request, protocol,
};

fn header(request: u32, flags: u32, len: u32) -> [u8; HEADER_LEN] {
    let words = [request, flags, len].map(u32::to_ne_bytes);
    words.concat().try_into().unwrap()
}

fn malformed(message: Message) -> Malformed {
    match Bench::negotiated().send(message).closed {
        Some(CloseReason::Malformed(_, fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_52_a_bad_header_or_size_closes() {
    assert!(Header::parse(header(1, 1, 4096)).is_ok());
    for flags in [0, 2, 3, 0x11, 0x8000_0001] {
        assert!(Header::parse(header(1, flags, 0)).is_err());
    }
    for len in [4097, u32::MAX] {
        assert!(Header::parse(header(1, 1, len)).is_err());
    }
    for request in Request::ALL
        .iter()
        .filter(|request| request.needs() != u64::MAX)
    {
        let mut sizes = vec![1, 3, 9, 39, MAX_BODY];
        sizes.extend((request.body_size() != Some(0)).then_some(0));
        for len in sizes {
            let message = Message::request(*request, vec![0xff; len]);
            let closed = Bench::negotiated().send(message).closed;
            let over = *request == GetConfig && len >= 12 || *request == SetConfig;
            let fine =
                matches!(closed, Some(CloseReason::Malformed(_, Malformed::Size(n))) if n == len);
            assert!(fine || over, "{request} {len} {closed:?}");
        }
    }
    let reply = Message::reply(SetOwner as u32, Vec::new());
    assert_eq!(malformed(reply), Malformed::Flags(5));
}

#[test]
fn row_53_an_unknown_or_unoffered_request_is_refused_or_closes() {
    for code in [0, 45, 1000, u32::MAX] {
        let mut message = bare(SetOwner);
        message.request = code;
        Bench::negotiated().ask(message).assert_refused();
    }
    for request in [
        IotlbMsg,
        SetVringEndian,
        VringKick,
        ResetDevice,
        SetLogFd,
        SetBackendReqFd,
    ] {
        Bench::negotiated().ask(u64_of(request, 0)).assert_refused();
        let closed = Bench::negotiated().send(u64_of(request, 0)).closed;
        assert_eq!(
            closed,
            Some(CloseReason::Refused(request.into(), Refusal::NotOffered))
        );
    }
    for request in [GetInflightFd, SetLogBase, PostcopyAdvise, GetSharedObject] {
        let closed = Bench::negotiated().ask(u64_of(request, 0)).closed;
        assert_eq!(
            closed,
            Some(CloseReason::Refused(request.into(), Refusal::NotOffered))
        );
    }
}

#[test]
fn requests_of_features_that_were_not_acknowledged_are_refused() {
    let mut bench = Bench::new();
    bench.send(u64_of(SetProtocolFeatures, protocol::REPLY_ACK));
    for message in [
        u64_of(SendRarp, 2),
        u64_of(NetSetMtu, 1500),
        u64_of(SetStatus, 1),
    ] {
        bench.ask(message).assert_refused();
    }
    bench.ask(single(AddMemReg, REGION)).assert_refused();
    assert!(bench.send(bare(GetQueueNum)).closed.is_some());
}

#[test]
fn row_57_more_descriptors_than_a_message_may_carry_close() {
    for request in Request::ALL {
        let mut message = Message::request(*request, vec![0; request.body_size().unwrap_or(8)]);
        message.fds = (0..253).map(|_| event()).collect();
        assert_eq!(malformed(message), Malformed::Descriptors(253), "{request}");
    }
    let mut message = bare(SetOwner);
    message.fds.push(event());
    assert_eq!(malformed(message), Malformed::Descriptors(1));
    let mut message = table(&[REGION]);
    message.fds.push(file(REGION_LEN));
    assert_eq!(malformed(message), Malformed::Descriptors(2));
}

#[test]
fn row_58_a_missing_descriptor_is_refused_unless_the_message_says_so() {
    for request in [SetVringKick, SetVringCall, SetVringErr] {
        let mut bench = Bench::with_started_ring();
        bench.ask(u64_of(request, 0)).assert_refused();
        let without = bench.ask(u64_of(request, 0x100));
        // A ring without a kick would have to be polled for ever.
        if request == SetVringKick {
            without.assert_refused();
        } else {
            without.assert_granted();
        }
        assert!(bench.send(u64_of(request, 0)).closed.is_some());
        assert_eq!(
            malformed(ring_event(request, 0x100)),
            Malformed::Descriptors(1)
        );
    }
    let mut bench = Bench::negotiated();
    for mut message in [table(&[REGION]), single(AddMemReg, REGION)] {
        message.fds.clear();
        bench.ask(message).assert_refused();
    }
}

#[test]
fn an_event_that_is_a_file_or_a_socket_is_refused() {
    for kind in [Kind::Other, file(4096).kind] {
        let mut message = ring_event(SetVringCall, 0);
        message.fds[0].kind = kind;
        Bench::negotiated().ask(message).assert_refused();
    }
}

#[test]
fn row_60_a_ring_index_is_bounded_before_it_is_cut() {
    for index in [4, 255, 256, 65_536, 0x8000_0000, u32::MAX] {
        let mut bench = Bench::negotiated();
        bench.send(table(&[REGION]));
        for request in [SetVringNum, SetVringBase, SetVringEnable] {
            bench.ask(state(request, index, 1)).assert_refused();
        }
        bench
            .ask(addresses_at(index, [USER, USER + 0x2000, USER + 0x1000]))
            .assert_refused();
        for request in [SetVringKick, SetVringCall, SetVringErr] {
            let index = u64::from(index) & !0x100 | u64::from(index == 256) << 16;
            bench.ask(ring_event(request, index)).assert_refused();
            bench.ask(ring_event(request, 1 << 32)).assert_refused();
        }
        // Its reply has a form of its own that cannot say no.
        assert!(bench.ask(state(GetVringBase, index, 0)).closed.is_some());
    }
}

fn assert_tables_refused(tables: &[Vec<Numbers>]) {
    let mut bench = Bench::with_started_ring();
    let before = bench.session.table().clone();
    for regions in tables {
        bench.ask(table(regions)).assert_refused();
        assert_eq!(*bench.session.table(), before);
        assert!(bench.session.rings()[0].started);
    }
}

/// Regions next to each other, all good.
fn regions(count: u64) -> Vec<Numbers> {
    let place = |n| [n * REGION_LEN, REGION_LEN, USER + n * REGION_LEN, 0];
    (0..count).map(place).collect()
}

#[test]
fn row_61_a_table_of_bad_count_or_with_one_bad_region_keeps_the_old() {
    let mut one_bad = regions(8);
    one_bad[7][1] = 0;
    assert_tables_refused(&[regions(0), regions(9), regions(33), one_bad]);
    Bench::negotiated().ask(table(&regions(8))).assert_granted();
}

#[test]
fn row_62_overlapping_empty_huge_and_overflowing_regions_are_refused() {
    let two = |second: Numbers| vec![REGION, second];
    assert_tables_refused(&[
        two([REGION_LEN - 4096, REGION_LEN, USER + REGION_LEN, 0]),
        two([REGION_LEN, REGION_LEN, USER + 4096, 0]),
        two(REGION),
        vec![[0, 0, USER, 0]],
        vec![[0, 1 << 63, USER, 0]],
        vec![[u64::MAX - 4095, 8192, USER, 0]],
        vec![[0, 8192, u64::MAX - 4095, 0]],
        vec![[0, 8192, USER, u64::MAX - 4095]],
        vec![[0, 4097, USER, 0]],
        vec![[0, 4096, USER, 1]],
    ]);
    let mut bench = Bench::with_started_ring();
    bench
        .ask(single(AddMemReg, [0, 4096, USER, 0]))
        .assert_refused();
    bench
        .ask(single(AddMemReg, [1 << 32, 0, USER * 2, 0]))
        .assert_refused();
    bench
        .ask(single(RemMemReg, [0, REGION_LEN, USER + 4096, 0]))
        .assert_refused();
}

#[test]
fn row_63_a_region_longer_than_its_file_is_refused() {
    assert_tables_refused(&[
        vec![[0, REGION_LEN + 4096, USER, 0]],
        vec![[0, REGION_LEN, USER, 4096]],
    ]);
    let (len, page) = (1 << 30, 4096);
    for kind in [
        Kind::File {
            len,
            page,
            writable: false,
        },
        Kind::File {
            len,
            page: 1 << 21,
            writable: true,
        },
        Kind::Other,
        Kind::Anonymous,
    ] {
        let mut message = table(&[REGION]);
        message.fds[0].kind = kind;
        Bench::negotiated().ask(message).assert_refused();
    }
}

#[test]
fn rows_65_and_66_a_table_that_takes_a_started_ring_away_stops_it_first() {
    let mut bench = Bench::with_started_ring();
    let outcome = bench.ask(table(&[REGION]));
    assert_eq!(
        outcome.engine_requests(),
        [SetMemTable],
        "same place: goes on"
    );
    let outcome = bench.ask(single(RemMemReg, REGION));
    assert_eq!(outcome.engine_requests(), [GetVringBase, RemMemReg]);
    assert_eq!(outcome.others, ["RingLost(0)"]);
    bench.ask(table(&[REGION])).assert_granted();
    bench.ask(ring_event(SetVringKick, 0)).assert_refused();
}

#[test]
fn a_region_added_for_every_queue_pair_goes_with_its_last_removal() {
    let mut bench = Bench::negotiated();
    let added = bench.ask(single(AddMemReg, REGION));
    assert_eq!(added.engine_requests(), [AddMemReg]);
    for request in [AddMemReg, RemMemReg] {
        let outcome = bench.ask(single(request, REGION));
        outcome.assert_granted();
        assert_eq!(outcome.engine_requests(), []);
    }
    let removed = bench.ask(single(RemMemReg, REGION));
    assert_eq!(removed.engine_requests(), [RemMemReg]);
    bench.ask(single(RemMemReg, REGION)).assert_refused();
}

#[test]
fn regions_reach_the_engine_in_guest_order() {
    let mut backwards = regions(3);
    backwards.reverse();
    let outcome = Bench::negotiated().ask(table(&backwards));
    assert_eq!(outcome.engine[0].body, table_body(&regions(3)));
}

#[test]
fn there_may_be_32_regions_and_no_more() {
    let mut bench = Bench::negotiated();
    for region in regions(32) {
        bench.ask(single(AddMemReg, region)).assert_granted();
    }
    bench
        .ask(single(AddMemReg, regions(33)[32]))
        .assert_refused();
}

#[test]
fn row_67_what_comes_too_early_or_too_late_is_refused() {
    let mut bench = Bench::negotiated();
    bench.ask(addresses(0)).assert_refused();
    bench.ask(ring_event(SetVringKick, 0)).assert_refused();
    bench.ask(state(SetVringEnable, 0, 1)).assert_granted();
    bench.ask(table(&[REGION])).assert_granted();
    bench.ask(addresses(0)).assert_granted();
    bench.ask(ring_event(SetVringKick, 0)).assert_refused();
    bench.start_ring(0);
    bench.ask(state(SetVringNum, 0, 128)).assert_refused();
    bench.ask(state(SetVringBase, 0, 5)).assert_refused();
    bench
        .ask(addresses_at(0, [USER, USER + 0x3000, USER + 0x1000]))
        .assert_refused();
    bench.ask(u64_of(SetFeatures, PF)).assert_refused();
    bench
        .ask(u64_of(SetFeatures, FEATURES | PF))
        .assert_granted();
    bench.ask(u64_of(SetFeatures, 1 << 63)).assert_refused();
    bench
        .ask(u64_of(SetProtocolFeatures, 1 << 12))
        .assert_refused();
    bench.ask(bare(SetOwner)).assert_refused();
    assert!(bench.session.rings()[0].started);
}

#[test]
fn rows_17_and_18_bad_sizes_and_places_of_a_ring_are_refused() {
    let mut bench = Bench::negotiated();
    bench.ask(table(&[REGION])).assert_granted();
    bench.ask(state(SetVringNum, 0, 256)).assert_granted();
    for num in [0, 3, 1025, 2048, 32_769, 65_536, u32::MAX] {
        bench.ask(state(SetVringNum, 0, num)).assert_refused();
    }
    assert_eq!(bench.session.rings()[0].size, Some(256));
    let (used, available, end) = (USER + 0x2000, USER + 0x1000, USER + REGION_LEN);
    for parts in [
        [USER + 8, used, available],
        [USER, used + 2, available],
        [USER, used, available + 1],
        [end - 16, used, available],
        [USER, end - 64, available],
        [USER, used, end],
        [0, 0, 0],
        [u64::MAX - 15, used, available],
        [USER, USER + 16, available],
    ] {
        bench.ask(addresses_at(0, parts)).assert_refused();
    }
    bench.ask(state(SetVringBase, 0, 65_536)).assert_refused();
    bench.ask(state(SetVringEnable, 0, 2)).assert_refused();
}

#[test]
fn row_68_a_new_session_may_be_owned_again() {
    for _ in 0..2 {
        Bench::new().send(bare(SetOwner)).assert_granted();
    }
}

#[test]
fn row_70_configuration_reads_stay_inside_the_space() {
    let read = |offset: u32, len: u32, room: usize| {
        let mut body = [offset, len, 0].map(u32::to_ne_bytes).concat();
        body.resize(12 + room, 0);
        Message::request(GetConfig, body)
    };
    let mut bench = Bench::negotiated();
    let outcome = bench.send(read(0, 12, 12));
    assert_eq!(outcome.replies[0].body.len(), 24);
    for (offset, len) in [
        (1, 12),
        (0, 13),
        (u32::MAX, 2),
        (12, 1),
        (0, 0),
        (4, u32::MAX),
    ] {
        let outcome = bench.send(read(offset, len, 12));
        assert_eq!((outcome.replies[0].body.len(), outcome.closed), (0, None));
        assert!(outcome.engine.is_empty());
    }
    assert!(bench.send(read(0, 4, 12)).closed.is_some());
}

#[test]
fn an_engine_that_answers_out_of_turn_or_fails_ends_the_session() {
    let close = |answer: Message| {
        let mut bench = Bench::negotiated();
        let mut actions = Vec::new();
        bench
            .session
            .front_end(state(SetVringNum, 0, 8), &mut actions);
        actions.clear();
        bench.session.engine(answer, &mut actions);
        format!("{actions:?}")
    };
    assert!(close(Message::ack(SetVringNum as u32, false)).contains("EngineFailed"));
    assert!(close(Message::ack(SetVringBase as u32, true)).contains("EngineAnswer"));
    assert!(close(bare(SetVringNum)).contains("EngineAnswer"));
    assert!(close(Message::reply(SetVringNum as u32, vec![0; 4])).contains("EngineAnswer"));
    assert_eq!(close(Message::ack(SetVringNum as u32, true)), "[]");
}
