use super::*;

fn refused(layout: RingLayout) -> SetupError {
    Ring::new(guest_map(), layout, ALL, 0).unwrap_err()
}

#[test]
fn row_17_unmapped_parts_are_refused() {
    let (good, _) = layout_at(RINGS, 256);
    for layout in [
        RingLayout {
            desc: 0x50_0000,
            ..good
        },
        RingLayout {
            avail: 0x50_0000,
            ..good
        },
        RingLayout {
            used: 0xf_fff0,
            ..good
        },
        RingLayout {
            used: 0xffff_ffff_ffff_fffc,
            ..good
        },
    ] {
        assert!(matches!(refused(layout), SetupError::Unmapped { .. }));
    }
}

#[test]
fn row_17_misaligned_parts_are_refused() {
    let (good, _) = layout_at(RINGS, 256);
    for layout in [
        RingLayout {
            desc: 0x8008,
            ..good
        },
        RingLayout {
            avail: 0x8001,
            ..good
        },
        RingLayout {
            used: 0x8002,
            ..good
        },
    ] {
        assert!(matches!(refused(layout), SetupError::Misaligned { .. }));
    }
}

#[test]
fn row_17_overlapping_parts_are_refused() {
    let (good, _) = layout_at(RINGS, 256);
    for layout in [
        RingLayout {
            avail: good.desc,
            ..good
        },
        RingLayout {
            used: good.avail & !3,
            ..good
        },
        RingLayout {
            used: good.desc + 16 * 256 - 4,
            ..good
        },
    ] {
        assert_eq!(refused(layout), SetupError::Overlap);
    }
}

#[test]
fn row_18_odd_sizes_are_refused() {
    let (good, _) = layout_at(RINGS, 256);
    for size in [0, 3, 32769, 65535] {
        assert_eq!(refused(RingLayout { size, ..good }), SetupError::Size(size));
    }
    for size in [1, 2, 32768] {
        let (layout, _) = layout_at(RINGS, size);
        assert!(Ring::new(guest_map(), layout, ALL, 0).is_ok());
    }
}

#[test]
fn row_19_a_failed_rebind_keeps_the_old_generation() {
    let mut rig = rig(8, ALL);
    rig.add(&[Buffer::readable(DATA, 64)]);
    let memory = crate::memory::GuestMemory::from_ranges(&[(GuestAddress(DATA), 0x1000)]).unwrap();
    let other = Arc::new(GuestMap::new(Arc::new(memory)));
    assert!(rig.ring.rebind(other).is_err());
    assert_eq!(rig.pop(), Ok(true));
    assert_eq!(rig.chain.readable_len(), 64);
}

#[test]
fn row_66_chains_keep_the_generation_that_they_were_popped_from() {
    let mut rig = rig(8, ALL);
    rig.driver.poke(DATA, b"old").unwrap();
    rig.add(&[Buffer::readable(DATA, 3)]);
    assert_eq!(rig.pop(), Ok(true));
    let weak = Arc::downgrade(&rig.map);
    rig.ring.rebind(guest_map()).unwrap();
    let Rig {
        map,
        driver,
        mut chain,
        ..
    } = rig;
    drop((map, driver));
    let mut bytes = [0; 3];
    assert_eq!(chain.copy_to(0, &mut bytes), 3);
    assert_eq!(&bytes, b"old");
    assert!(weak.upgrade().is_some());
    chain.clear();
    assert!(weak.upgrade().is_none());
}

#[test]
fn indices_survive_a_rebind() {
    let mut rig = rig(8, ALL);
    rig.add(&[Buffer::readable(DATA, 64)]);
    rig.add(&[Buffer::readable(DATA, 65)]);
    assert_eq!(rig.pop(), Ok(true));
    rig.ring.rebind(Arc::clone(&rig.map)).unwrap();
    rig.ring.complete(rig.chain.head(), 0);
    assert_eq!(rig.ring.next_avail(), 1);
    assert_eq!(rig.pop(), Ok(true));
    assert_eq!(rig.chain.readable_len(), 65);
}
