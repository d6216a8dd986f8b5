use qos::{ClassConfig, FlowsConfig, LeafQueue};

use super::*;
use crate::plan::{LOCAL, LeafPlan, ROOT, UPLINK};

/// A tree of these leaves, each below the uplink and once more below that of local frames.
fn whole(leaves: &[u16]) -> TreeConfig {
    let inner = |id| ClassConfig::new(id).parent(ROOT);
    let mut classes = vec![ClassConfig::new(ROOT), inner(UPLINK), inner(LOCAL)];
    for &leaf in leaves {
        for (id, parent) in pair(leaf).into_iter().zip([UPLINK, LOCAL]) {
            let class = ClassConfig::new(id).parent(parent);
            classes.push(class.queue(LeafQueue::Flows(FlowsConfig::default())));
        }
    }
    TreeConfig::new(classes)
}

fn pair(leaf: u16) -> [ClassId; 2] {
    [0, 1].map(|twin| ClassId::new(7, 2 * leaf + twin))
}

fn plan(leaves: &[u16], hold: bool) -> PortTreePlan {
    let leaf = |&leaf: &u16| {
        let [uplink, local] = pair(leaf);
        let own = ClassId::new(0, leaf);
        LeafPlan { own, uplink, local }
    };
    PortTreePlan {
        leaves: leaves.iter().map(leaf).collect(),
        classify: None,
        hold,
        limited: false,
    }
}

fn waits(tree: &PortTree) -> Vec<(ClassId, u64)> {
    let all = tree.sojourns();
    all.map(|(id, sojourn)| (id, sojourn.total())).collect()
}

/// Counts a frame that waited in this class, as the path of frames does.
fn wait(tree: &Tree, own: &mut PortTree, id: ClassId) {
    let key = tree.engine.leaf(id).unwrap();
    let Owner::Port(seat) = tree.owner(key) else {
        panic!("nobody's leaf");
    };
    own.waited(seat, key, 1000);
}

#[test]
fn both_twins_of_a_leaf_count_in_one_place_and_keep_it_while_others_come_and_go() {
    let mut tree = Tree::new(&whole(&[1, 2])).unwrap();
    let mut own = PortTree::default();
    own.change(tree.seat(3, &plan(&[1, 2], false)).unwrap());
    for [uplink, local] in [pair(1), pair(2), pair(2)] {
        wait(&tree, &mut own, uplink);
        wait(&tree, &mut own, local);
    }
    assert_eq!(waits(&own), [(pair(1)[0], 2), (pair(2)[0], 4)]);

    tree.apply(&whole(&[9, 2]), Time::from_nanos(1)).unwrap();
    own.change(tree.seat(3, &plan(&[9, 2], false)).unwrap());
    assert_eq!(waits(&own), [(pair(9)[0], 0), (pair(2)[0], 4)]);
    wait(&tree, &mut own, pair(2)[1]);
    wait(&tree, &mut own, pair(9)[1]);
    assert_eq!(waits(&own), [(pair(9)[0], 1), (pair(2)[0], 5)]);
}

#[test]
fn a_leaf_that_is_not_there_any_more_counts_nowhere() {
    let mut tree = Tree::new(&whole(&[1, 2])).unwrap();
    let mut own = PortTree::default();
    own.change(tree.seat(3, &plan(&[1, 2], false)).unwrap());
    // The other one has its place now.
    own.change(tree.seat(3, &plan(&[2], false)).unwrap());
    wait(&tree, &mut own, pair(1)[0]);
    assert_eq!(waits(&own), [(pair(2)[0], 0)]);
}

#[test]
fn where_frames_wait_in_the_ring_nothing_is_counted_or_kept() {
    let mut tree = Tree::new(&whole(&[1])).unwrap();
    let mut own = tree.seat(3, &plan(&[1], true)).unwrap();
    wait(&tree, &mut own, pair(1)[0]);
    assert!(waits(&own).is_empty() && own.sojourns.is_empty());
}

#[test]
fn whose_a_leaf_is_takes_eight_bytes() {
    assert_eq!(size_of::<Owner>(), 8);
}
