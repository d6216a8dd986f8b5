use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm1.sock");
    (directory, path)
}

fn bind(path: &Path) -> Result<Listener, ListenError> {
    Listener::bind(path, 0o660, None)
}

#[test]
fn a_front_end_connects_and_talks() {
    let (_directory, path) = place();
    let listener = bind(&path).unwrap();
    assert!(listener.accept().unwrap().is_none(), "nobody yet");
    let mut front_end = UnixStream::connect(&path).unwrap();
    let mut ours = listener.accept().unwrap().unwrap();
    let mut byte = [0];
    let nothing = ours.read(&mut byte).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    front_end.write_all(b"x").unwrap();
    assert_eq!((ours.read(&mut byte).unwrap(), byte), (1, *b"x"));
}

#[test]
fn mode_and_group_are_set_whatever_the_umask() {
    let (_directory, path) = place();
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let _listener = Listener::bind(&path, mode, None).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode);
    }
    let group = rustix::process::getegid().as_raw();
    let _listener = Listener::bind(&path, 0o660, Some(group)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), group);
}

#[test]
fn root_may_give_the_socket_to_any_group() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives a file to another group: run it as root"
    );
    let (_directory, path) = place();
    let _listener = Listener::bind(&path, 0o660, Some(12345)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), 12345);
}

#[test]
fn a_live_socket_is_taken_even_with_a_full_queue() {
    let (_directory, path) = place();
    let _live = bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(ListenError::Taken(_))));
    let mut connector = Connector::new(&path).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = connector.connect() {
        waiting.push(stream);
    }
    assert!(matches!(connector.connect(), Err(ConnectError::Busy(_))));
    assert!(matches!(bind(&path), Err(ListenError::Taken(_))));
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let listener = bind(&path).unwrap();
    let _front_end = UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_some());
}

#[test]
fn what_is_no_stream_socket_is_left_alone() {
    let (directory, path) = place();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(ListenError::NotASocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(matches!(
        bind(directory.path()),
        Err(ListenError::NotASocket(_))
    ));

    let link = directory.path().join("link");
    std::os::unix::fs::symlink("vm1.sock", &link).unwrap();
    assert!(matches!(bind(&link), Err(ListenError::NotASocket(_))));

    let other = directory.path().join("datagrams");
    let _datagrams = UnixDatagram::bind(&other).unwrap();
    assert!(matches!(bind(&other), Err(ListenError::NotASocket(_))));
}

#[test]
fn a_bad_place_is_told_apart() {
    let (directory, _) = place();
    let nowhere = directory.path().join("missing/vm1.sock");
    assert!(matches!(bind(&nowhere), Err(ListenError::NoDirectory(_))));
    let long = directory.path().join("x".repeat(MAX_PATH_BYTES));
    let error = bind(&long).unwrap_err();
    assert!(matches!(error, ListenError::TooLong { .. }), "{error}");
    assert!(error.to_string().contains("107"), "{error}");
    let room = MAX_PATH_BYTES - directory.path().as_os_str().len() - 1;
    assert!(bind(&directory.path().join("x".repeat(room))).is_ok());
}

#[test]
fn a_read_only_directory_is_denied() {
    // Not root's to be denied by mode bits: /proc takes no new file from anybody.
    let error = bind(Path::new("/proc/self/vm1.sock")).unwrap_err();
    let refused = matches!(
        error,
        ListenError::Denied { .. } | ListenError::NoDirectory(_)
    );
    assert!(refused, "{error}");
}

#[test]
fn the_end_removes_our_socket_and_nobody_elses() {
    let (_directory, path) = place();
    drop(bind(&path).unwrap());
    assert!(!path.exists());

    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    assert!(path.exists(), "it is the second one's by now");
    drop(second);
    assert!(!path.exists());
}

#[test]
fn of_many_that_start_at_once_over_a_stale_socket_one_gets_it() {
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || bind(&path))
        })
        .collect();
    let results: Vec<_> = starts.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn running_out_of_descriptors_is_survived() {
    // The limit is the process's, so this happens in a child: this very test, run again.
    const CHILD: &str = "NETQOS_TEST_OUT_OF_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "listen::tests::running_out_of_descriptors_is_survived",
            ])
            .env(CHILD, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let (_directory, path) = place();
    let listener = bind(&path).unwrap();
    let _front_end = UnixStream::connect(&path).unwrap();
    let before = getrlimit(Resource::Nofile);
    let none_left = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none_left).unwrap();
    for _ in 0..3 {
        assert!(matches!(listener.accept(), Err(AcceptError::Exhausted(_))));
    }
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(listener.accept().unwrap().is_some(), "it has waited");
}

#[test]
fn a_connector_waits_longer_and_longer_up_to_a_second() {
    let (_directory, path) = place();
    let mut connector = Connector::new(&path).unwrap();
    let mut waits = vec![connector.wait().as_millis()];
    for _ in 0..6 {
        assert!(matches!(
            connector.connect(),
            Err(ConnectError::NobodyListens(_))
        ));
        waits.push(connector.wait().as_millis());
    }
    assert_eq!(waits, [0, 100, 200, 400, 800, 1000, 1000]);
    let _listener = bind(&path).unwrap();
    connector.connect().unwrap();
    assert_eq!((connector.failures(), connector.wait().as_millis()), (0, 0));
}

#[test]
fn an_inherited_listener_and_connection_are_told_apart_and_used_once() {
    // First, in the same test: numbers stay taken, and another descriptor could come by one.
    what_is_no_unix_stream_is_not_inherited_and_stays_open();
    let (_directory, path) = place();
    let number = UnixListener::bind(&path).unwrap().into_raw_fd();
    let Ok(Inherited::Listening(listener)) = from_fd(number) else {
        panic!("a listening socket");
    };
    assert!(matches!(from_fd(number), Err(FdError::Twice(_))));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let Ok(Inherited::Connected(mut connection)) = from_fd(ours.into_raw_fd()) else {
        panic!("a connected socket");
    };
    assert!(listener.accept().unwrap().is_none(), "it does not block");
    let nothing = connection.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    drop((listener, theirs));
    assert!(path.exists(), "the file is not ours to remove");
}

fn what_is_no_unix_stream_is_not_inherited_and_stays_open() {
    assert!(matches!(from_fd(-1), Err(FdError::NotOpen(-1))));
    assert!(matches!(from_fd(1_000_000), Err(FdError::NotOpen(_))));
    let mut file = tempfile::tempfile().unwrap();
    assert!(matches!(
        from_fd(file.as_raw_fd()),
        Err(FdError::NotAUnixStream(_))
    ));
    file.write_all(b"still open").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(matches!(
        from_fd(tcp.as_raw_fd()),
        Err(FdError::NotAUnixStream(_))
    ));
    let datagrams = UnixDatagram::unbound().unwrap();
    assert!(matches!(
        from_fd(datagrams.as_raw_fd()),
        Err(FdError::NotAUnixStream(_))
    ));
    let idle = stream_socket().unwrap();
    assert!(matches!(from_fd(idle.as_raw_fd()), Err(FdError::Idle(_))));
}
