use vm_memory::GuestAddress;

use super::*;

/// Three regions, the first two of them adjacent.
fn map() -> Arc<GuestMap> {
    let ranges = [
        (GuestAddress(0), 0x1000),
        (GuestAddress(0x1000), 0x2000),
        (GuestAddress(0x8000), 0x1000),
    ];
    let memory = GuestMemory::from_ranges(&ranges).unwrap();
    Arc::new(GuestMap::new(Arc::new(memory)))
}

#[test]
fn a_range_is_found_whatever_was_found_before() {
    let map = map();
    for (addr, len, good) in [
        (0, 0x1000, true),
        (0xfff, 1, true),
        (0xfff, 2, false), // adjacent in the guest, not here
        (0x1000, 0x2000, true),
        (0x2fff, 2, false),
        (0x3000, 1, false),
        (0x7fff, 1, false),
        (0x8fff, 1, true),
        (0x9000, 1, false),
        (u64::MAX, 1, false),
        (0x8001, u64::MAX, false),
    ] {
        for mut hint in [0, 1, 2, 3, usize::MAX] {
            let found = map.host_of(addr, len, &mut hint);
            assert_eq!(found.is_ok(), good, "{addr:#x} {len:#x}");
        }
    }
}

#[test]
fn a_range_resolves_to_the_bytes_of_the_memory_table() {
    use vm_memory::Bytes;
    let map = map();
    map.memory()
        .write_slice(b"bytes", GuestAddress(0x8ffb))
        .unwrap();
    let mut bytes = [0; 5];
    let view = map.view(0x8ffb, 5, &mut 0).unwrap();
    assert_eq!(view.read(0, &mut bytes), 5);
    assert_eq!(&bytes, b"bytes");
    assert_eq!(view.read(3, &mut bytes), 2);
    assert_eq!(view.write(4, b"xyz"), 1);
}

#[test]
fn copies_cross_segments_at_any_offset() {
    let map = map();
    let mut list = IoVecs::default();
    list.bind(&map);
    for (addr, len) in [(0x10, 3), (0x8000, 1), (0x1100, 6)] {
        list.push(addr, len, &mut 0).unwrap();
    }
    assert_eq!(list.writer().write(b"0123456789abc"), 10);
    for skip in 0..12 {
        for want in 0..12 {
            let mut bytes = vec![0; want];
            let count = list.copy_out(skip, &mut bytes);
            let end = (skip + want).min(10);
            let expected = b"0123456789".get(skip..end).unwrap_or_default();
            assert_eq!(&bytes[..count], expected);
        }
    }
    let mut other = IoVecs::default();
    other.bind(&map);
    other.push(0x2000, 20, &mut 0).unwrap();
    let mut writer = other.writer();
    assert_eq!(writer.write(b"<"), 1);
    assert_eq!(writer.write_from(&list, 2, 5), 5);
    let mut bytes = [0; 6];
    other.copy_out(0, &mut bytes);
    assert_eq!(&bytes, b"<23456");
}

#[test]
fn a_list_without_a_map_takes_no_address() {
    assert!(IoVecs::default().push(0, 1, &mut 0).is_err());
    let (one, two) = (map(), map());
    let mut list = IoVecs::default();
    list.bind(&one);
    list.push(0, 1, &mut 0).unwrap();
    list.bind(&two);
    assert!(list.is_empty());
    drop(two);
    assert_eq!(Arc::strong_count(&one), 1);
}
