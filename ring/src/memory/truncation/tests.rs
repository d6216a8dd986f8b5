use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::{FileOffset, GuestAddress};

use super::*;
use crate::memory::{GuestMap, GuestMemory};

const LEN: usize = 0x4000;

/// Two regions of one file, and the file.
fn map(lost: &Arc<AtomicBool>) -> (GuestMap, File) {
    let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&file, 2 * LEN as u64).unwrap();
    let region = |at: u64| {
        let shared = FileOffset::new(file.try_clone().unwrap(), at);
        (GuestAddress(at * 2), LEN, Some(shared))
    };
    let ranges = [region(0), region(LEN as u64)];
    let memory = GuestMemory::from_ranges_with_files(ranges).unwrap();
    (
        GuestMap::with_flag(Arc::new(memory), Arc::clone(lost)),
        file,
    )
}

fn read(map: &GuestMap, addr: u64) -> u16 {
    map.view(addr, 16, &mut 0)
        .unwrap()
        .load_u16(0, Ordering::Relaxed)
}

fn write(map: &GuestMap, addr: u64, value: u16) {
    let view = map.view(addr, 16, &mut 0).unwrap();
    view.store_u16(0, value, Ordering::Relaxed);
}

#[test]
fn row_64_a_file_cut_short_loses_its_region_and_nothing_else() {
    let (mut woken, wake) = UnixStream::pair().unwrap();
    survive(wake.into()).unwrap();
    let (mine, others) = (Arc::default(), Arc::default());
    let (own, file) = map(&mine);
    let (other, _kept) = map(&others);
    for map in [&own, &other] {
        write(map, 0, 7);
        write(map, 2 * LEN as u64, 8);
    }
    // The second region's bytes beyond its first page are gone.
    ftruncate(&file, LEN as u64 + 4096).unwrap();
    assert_eq!(read(&own, 2 * LEN as u64), 8, "what is left can be read");
    assert!(!own.is_lost());
    assert_eq!(read(&own, 2 * LEN as u64 + 4096), 0);
    assert!(own.is_lost());
    assert_eq!(read(&own, 2 * LEN as u64), 0, "the whole region is new");
    assert_eq!(read(&own, 0), 7, "and no other");
    write(&own, 2 * LEN as u64 + 4096, 9);
    assert_eq!(read(&own, 2 * LEN as u64 + 4096), 9);
    assert!(!other.is_lost());
    assert_eq!(read(&other, 2 * LEN as u64), 8);
    let mut event = [0; 8];
    woken.read_exact(&mut event).unwrap();
    assert_eq!(u64::from_ne_bytes(event), 1, "once");
}

#[test]
fn more_regions_than_a_block_holds_are_watched_and_let_go() {
    let lost = Arc::default();
    let maps: Vec<_> = (0..SLOTS).map(|_| map(&lost).0).collect();
    let held = |map: &GuestMap| {
        let address = map.view(0, 1, &mut 0).unwrap().host.addr();
        let mut block = Some(&FIRST);
        std::iter::from_fn(|| {
            let this = block?;
            block = this.next();
            Some(this)
        })
        .any(|block| {
            block
                .slots
                .iter()
                .any(|slot| slot.holding(address).is_some())
        })
    };
    assert!(maps.iter().all(held));
    assert!(FIRST.next().is_some());
    drop(maps);
    assert_eq!(Arc::strong_count(&lost), 1);
}
