//! What the opener does for those who ask properly.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use super::*;
use crate::listen::Connector;
use crate::uplink::Offload;

/// The MTU of a link of this thread's network namespace, if it is there.
fn mtu(link: &str) -> Option<u16> {
    let shown = Command::new("ip")
        .args(["-o", "link", "show", link])
        .output();
    let text = String::from_utf8(shown.unwrap().stdout).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1)?.parse().ok()
}

#[test]
fn a_tap_has_descriptors_that_work_and_goes_at_the_clean_end() {
    in_namespace(|| {
        let place = Place::new("tap vm1");
        let mut opener = place.start();
        let vm1 = tap("vm1", 1);
        let uplink = opener.uplink(&vm1).unwrap();
        assert!(made_by_us(&uplink));
        uplink.set_carrier(true).unwrap();
        uplink.set_offload(Offload::ALL).unwrap();
        let header = [0; 12];
        let frame = [header.as_slice(), &[0xff; 60]].concat();
        let written = rustix::io::write(uplink.fd(0).unwrap(), &frame);
        assert_eq!(written, Ok(frame.len()));
        opener.set_mtu("vm1", 9000).unwrap();
        assert_eq!(mtu("vm1"), Some(9000));
        opener.remove(uplink).unwrap();
        assert_eq!(mtu("vm1"), None);
        opener.end().unwrap();
    });
}

#[test]
fn without_a_process_all_is_the_same() {
    in_namespace(|| {
        let place = Place::new("");
        let mut opener = Opener::direct();
        assert!(opener.fd().is_none());
        let uplink = opener.uplink(&tap("vm1", 2)).unwrap();
        assert_eq!(uplink.queues(), 2);
        opener.set_mtu("vm1", 1400).unwrap();
        assert_eq!(mtu("vm1"), Some(1400));
        opener.remove(uplink).unwrap();
        assert_eq!(mtu("vm1"), None);
        let path = place.path("vm1.sock");
        let listener = opener.listener(&path, 0o600, None).unwrap();
        drop(listener);
        assert!(path.exists());
        opener.reload().unwrap();
        opener.end().unwrap();
        assert!(!path.exists());
    });
}

#[test]
fn a_listener_is_as_asked_and_its_file_goes_when_told() {
    let place = Place::new("");
    let (first, second) = (place.path("vm1.sock"), place.path("vm2.sock"));
    place.configure(&format!(
        "socket {}\nsocket {}",
        first.display(),
        second.display()
    ));
    let mut opener = place.start();
    let group = rustix::process::getegid().as_raw();
    let listener = opener.listener(&first, 0o640, Some(group)).unwrap();
    let meta = fs::metadata(&first).unwrap();
    assert_eq!(
        (meta.permissions().mode() & 0o777, meta.gid()),
        (0o640, group)
    );
    assert!(listener.accept().unwrap().is_none(), "it does not block");
    let mut front_end = UnixStream::connect(&first).unwrap();
    let mut ours = listener.accept().unwrap().unwrap();
    front_end.write_all(b"x").unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 1);

    opener.set_access(&first, 0o600, None).unwrap();
    let meta = fs::metadata(&first).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let strange = opener.set_access(&first, 0o4777, None);
    assert!(matches!(strange, Err(OpenerError::Protocol(_))));
    let not_made = opener.set_access(&second, 0o600, None);
    assert!(matches!(not_made, Err(OpenerError::NotAllowed(_))));

    let taken = opener.listener(&first, 0o640, None).unwrap_err();
    assert!(matches!(taken, OpenerError::Failed(_)), "{taken}");
    assert!(taken.to_string().contains("another process is listening"));
    drop(listener);
    assert!(first.exists(), "the opener has the file");
    let _again = opener.listener(&first, 0o600, None).unwrap();
    opener.unlisten(&first).unwrap();
    assert!(!first.exists());
    assert!(matches!(
        opener.unlisten(&first),
        Err(OpenerError::NotAllowed(_))
    ));

    let _listener = opener.listener(&second, 0o660, None).unwrap();
    drop(opener);
    assert!(!second.exists(), "to drop it is its clean end");
}

#[test]
fn a_front_end_that_listens_is_connected_to() {
    let place = Place::new("");
    let path = place.path("vm1.sock");
    place.configure(&format!("socket {}", path.display()));
    let mut opener = place.start();
    let mut connector = Connector::new(&path).unwrap();
    let nobody = connector.connect_by(|path| opener.connect(path));
    let nobody = nobody.unwrap_err().to_string();
    assert!(nobody.contains("no front-end is listening yet"), "{nobody}");
    assert_eq!(connector.failures(), 1);
    let front_end = UnixListener::bind(&path).unwrap();
    let mut ours = connector.connect_by(|path| opener.connect(path)).unwrap();
    assert_eq!(connector.failures(), 0);
    let (mut theirs, _) = front_end.accept().unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 1);
    let nothing = ours.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn only_what_the_configuration_names_is_opened() {
    in_namespace(|| {
        let place = Place::new("");
        let named = place.path("vm1.sock");
        let guests = place.path("guests");
        fs::create_dir(&guests).unwrap();
        let (named_text, guests_text) = (named.display(), guests.display());
        place.configure(&format!(
            "tap vm1\nsocket {named_text}\ndirectory {guests_text}"
        ));
        let mut opener = place.start();
        let refused = |result: Result<(), OpenerError>| match result {
            Err(OpenerError::NotAllowed(text)) => text,
            other => panic!("{other:?}"),
        };

        let text = refused(opener.uplink(&tap("vm2", 1)).map(drop));
        assert!(text.contains("`vm2` is not in the configuration"), "{text}");
        let text = refused(opener.uplink(&tap("vm1", 2)).map(drop));
        assert!(text.contains("not as the configuration"), "{text}");
        let mut other = tap("vm1", 1);
        other.kind = tap("lo", 1).kind;
        refused(opener.uplink(&other).map(drop));
        assert_eq!((mtu("vm1"), mtu("vm2")), (None, None));
        refused(opener.set_mtu("vm1", 1400));

        let listen =
            |opener: &mut Opener, path: &Path| opener.listener(path, 0o600, None).map(drop);
        for outside in [
            "vm2.sock",
            "guests",
            "guests/../vm2.sock",
            "guests/a/b.sock",
        ] {
            let path = place.path(outside);
            assert!(refused(listen(&mut opener, &path)).contains("--socket-dir"));
            refused(opener.connect(&path).map(drop));
        }
        listen(&mut opener, &named).unwrap();
        listen(&mut opener, &guests.join("vm3.sock")).unwrap();
        opener.uplink(&tap("vm1", 1)).unwrap();
    });
}

#[test]
fn a_reload_changes_what_is_allowed_and_a_bad_one_nothing() {
    in_namespace(|| {
        let place = Place::new("tap vm1");
        let mut opener = place.start();
        place.configure("tap vm2");
        assert!(opener.uplink(&tap("vm2", 1)).is_err(), "not before");
        opener.reload().unwrap();
        opener.uplink(&tap("vm2", 1)).unwrap();
        assert!(opener.uplink(&tap("vm1", 1)).is_err());
        place.configure("tpa vm1");
        let error = opener.reload().unwrap_err();
        assert!(matches!(error, OpenerError::Failed(_)), "{error}");
        assert!(error.to_string().contains("line `tpa vm1`"), "{error}");
        opener.uplink(&tap("vm2", 1)).unwrap();
    });
}
