//! Rows whose proof, or the exact half of it, is a test of a library or another test of the whole system. The
//! test below sees that each of them is still there.
//!
//! | row | file | test |
//! |---|---|---|
//! | 1 | ring/src/split/tests/exhaustive.rs | every_table_of_four_descriptors_is_walked_as_specified |
//! | 4 | ring/src/split/tests/transmit.rs | row_4_more_heads_than_descriptors_outstanding_break_the_ring |
//! | 9 | ring/src/split/tests/garbage.rs | whatever_the_ring_holds_segments_lie_in_guest_memory |
//! | 17 | ring/src/split/tests/setup.rs | row_17_overlapping_parts_are_refused |
//! | 18 | backend/src/session/tests/hostile.rs | rows_17_and_18_bad_sizes_and_places_of_a_ring_are_refused |
//! | 19 | ring/src/split/tests/setup.rs | row_19_a_failed_rebind_keeps_the_old_generation |
//! | 20 | ring/src/split/tests/signals.rs | row_20_used_event_at_odd_places_is_followed_exactly |
//! | 20 | ring/src/split/tests/signals.rs | the_rule_does_not_change_under_translation_over_the_whole_domain |
//! | 21 | ring/src/split/tests/signals.rs | row_21_the_flag_decides_without_event_index |
//! | 22 | ring/src/split/tests/transmit.rs | row_22_what_the_guest_writes_into_the_used_ring_has_no_effect |
//! | 38 | ring/src/net/tests.rs | row_38_bad_ipv4_headers_are_nobodys_class |
//! | 38 | qos/src/classify/parse/tests.rs | damaged_ipv4_headers_say_nothing |
//! | 40 | ring/src/net/tests.rs | row_40_fragments_are_classified_by_addresses |
//! | 41 | ring/src/net/tests.rs | row_41_two_vlan_tags_are_read_and_more_are_nobodys_class |
//! | 44 | ring/src/split/tests/receive.rs | row_44_num_buffers_and_lengths_appear_with_one_publication |
//! | 46 | ring/src/split/tests/fetch.rs | rows_46_49_and_50_a_guest_that_rewrites_everything_changes_nothing |
//! | 47 | ring/src/split/tests/fetch.rs | rows_47_and_48_decisions_and_what_is_sent_come_from_the_same_copy |
//! | 48 | ring/src/split/tests/receive.rs | a_frame_goes_from_ring_to_ring_with_a_private_head |
//! | 49 | ring/src/split/tests/fetch.rs | rows_46_49_and_50_a_guest_that_rewrites_everything_changes_nothing |
//! | 50 | ring/src/split/tests/fetch.rs | rows_46_49_and_50_a_guest_that_rewrites_everything_changes_nothing |
//! | 51 | ring/src/split/tests/fetch.rs | row_51_every_guest_byte_is_read_once |
//! | 52 | backend/src/session/tests/hostile.rs | row_52_a_bad_header_or_size_closes |
//! | 57 | guest-tests/tests/hostile/full.rs | row_57_a_daemon_without_descriptors_serves_those_it_has_and_recovers |
//! | 57 | backend/src/listen/tests.rs | running_out_of_descriptors_is_survived |
//! | 59 | backend/src/session/tests/sockets.rs | row_59_repetition_keeps_no_descriptor |
//! | 64 | ring/src/memory/truncation/tests.rs | row_64_a_file_cut_short_loses_its_region_and_nothing_else |
//! | 66 | ring/src/split/tests/setup.rs | row_66_chains_keep_the_generation_that_they_were_popped_from |
//! | 67 | backend/src/session/tests/hostile.rs | row_67_what_comes_too_early_or_too_late_is_refused |
//! | 70 | backend/src/session/tests/hostile.rs | row_70_configuration_reads_stay_inside_the_space |
//! | 73 | guest-tests/tests/flood.rs | a_frame_waits_for_no_more_than_one_visit_to_the_flooder |
//! | 74 | guest-tests/tests/front_end.rs | a_guest_that_never_posts_loses_frames_and_gets_new_ones_when_it_posts |
//! | 74 | guest-tests/tests/hostile/full.rs | row_74_guests_that_take_nothing_leave_room_for_those_that_do |
//! | 75 | guest-tests/tests/front_end.rs | frames_wait_for_a_guest_that_posts_few_buffers_and_come_when_it_does |
//! | 76 | guest-tests/tests/signals.rs | under_load_every_completion_is_called_for_though_the_guest_only_waits |
//! | 77 | guest-tests/tests/hostile/full.rs | row_77_a_full_uplink_holds_the_ring_and_charges_once |
//! | 78 | guest-tests/tests/uplinks.rs | a_short_outage_loses_nothing_from_a_guest |
//! | 79 | guest-tests/tests/hostile/full.rs | row_79_a_full_pool_holds_and_allocates_nothing |
//! | 79 | qos/src/engine/flows/tests/room.rs | a_full_pool_refuses_and_nobody_loses_for_it |
//! | 80 | backend/tests/daemon/log.rs | a_front_end_cannot_flood_the_log_and_an_operator_is_told_all |
//! | 81 | backend/tests/control.rs | bad_clients_are_sent_away_and_counted_and_hold_nobody_up |
//! | 81 | guest-tests/tests/views.rs | ten_rude_clients_disturb_no_frame |
//! | 81 | backend/tests/web/listener.rs | a_long_head_is_refused_and_a_slow_one_is_cut_off |
//! | 82 | qos/tests/hostile_calls.rs | a_clock_that_stands_or_steps_back_never_mints_credit |
//! | 82 | qos/src/gcra.rs | the_end_of_the_clock_and_endless_debt_are_survived |
//! | 91 | backend/src/config/tests/errors.rs | a_key_or_word_that_is_not_known_is_told_with_the_nearest |
//! | 91 | backend/src/config/tests/errors.rs | values_that_cannot_be_are_told_with_their_bounds |
//! | 91 | backend/src/config/tests/conflicts.rs | trees_and_rules_that_cannot_run_are_told_by_name |
//! | 91 | backend/src/config/tests/conflicts.rs | guarantees_that_do_not_fit_are_told_with_who_and_how_much |
//! | 91 | guest-tests/tests/live_refusal.rs | what_is_refused_is_named_and_nothing_changes |
//! | 92 | backend/tests/control.rs | whoever_was_slower_is_told_what_has_changed |
//! | 93 | guest-tests/tests/live_change/main.rs | frames_of_a_class_and_of_a_guest_that_are_removed_go_in_their_turn |
//! | 93 | backend/src/plan/tests.rs | ids_stay_whatever_comes_and_goes_around_them |
//! | 94 | qos/tests/retune_effects.rs | changes_give_nothing_away_in_any_window |
//! | 94 | qos/src/engine/retune/tests.rs | a_hundred_thousand_changes_amid_traffic_leak_no_row_and_lose_no_frame |
//! | 95 | backend/src/daemon/control/inbox.rs | no_input_takes_more_than_its_bound |
//! | 95 | backend/src/control/request.rs | no_bytes_are_too_much_for_it |
//! | 95 | backend/tests/control.rs | strangers_are_refused_with_a_sentence_and_members_of_the_group_are_not |
//! | 96 | backend/src/switch/tests/learning.rs | an_owned_address_never_moves |
//! | 96 | guest-tests/tests/hostile/full.rs | row_96_a_guest_that_is_alone_sends_from_its_own_address_only |
//! | 97 | backend/src/switch/tests/guard.rs | neighbour_discovery_names_its_sender |
//! | 97 | backend/src/switch/tests/random.rs | a_spoofed_source_never_passes |
//! | 98 | backend/src/switch/tests/learning.rs | a_flood_of_addresses_takes_nothing_from_neighbours |
//! | 98 | qos/src/engine/flows/tests/turns.rs | more_hosts_and_flows_than_places_still_all_get_something |
//! | 99 | backend/src/switch/tests/mod.rs | link_control_neither_leaves_nor_reaches_guarded_ports |

use std::collections::BTreeSet;
use std::path::Path;

/// Row, file and test of each line of the table above.
fn table() -> impl Iterator<Item = (u8, &'static str, &'static str)> {
    let lines = include_str!("elsewhere.rs").lines();
    lines.filter_map(|line| {
        let mut cells = line.strip_prefix("//! | ")?.split(" | ");
        let (number, file, test) = (cells.next()?, cells.next()?, cells.next()?);
        Some((number.parse().ok()?, file, test.trim_end_matches(" |")))
    })
}

/// Rows of A1 to A5 and A7.
fn catalogue() -> BTreeSet<u8> {
    (1..=82).chain(91..=99).collect()
}

#[test]
fn every_row_has_a_test_and_every_test_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut rows: BTreeSet<u8> = crate::run::rows().map(|row| row.number).collect();
    let mut tests = 0;
    for (number, file, test) in table() {
        let text = std::fs::read_to_string(root.join(file));
        let text = text.unwrap_or_else(|error| panic!("row {number}: {file}: {error}"));
        let declared = format!("fn {test}(");
        let before = text.split(&declared).next().unwrap_or_default();
        assert_ne!(
            before.len(),
            text.len(),
            "row {number}: no {test} in {file}"
        );
        let is_test = before
            .rsplit("fn ")
            .next()
            .unwrap_or_default()
            .contains("#[test]");
        assert!(is_test, "row {number}: {test} in {file} is no test");
        rows.insert(number);
        tests += 1;
    }
    assert!(tests > 50, "the table of this file was not read");
    let untested: Vec<_> = catalogue().difference(&rows).copied().collect();
    assert!(untested.is_empty(), "rows without a test: {untested:?}");
    let strange: Vec<_> = rows.difference(&catalogue()).copied().collect();
    assert!(strange.is_empty(), "rows that there are not: {strange:?}");
}
