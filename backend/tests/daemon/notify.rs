//! What a service manager sees of the daemon.

use std::os::unix::net::UnixDatagram;

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    fn told(&self) -> String {
        let mut bytes = [0; 256];
        let len = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }
}

#[test]
fn a_service_manager_is_told_the_states() {
    in_namespace(|| {
        let manager = Manager::new();
        let environment = [("NOTIFY_SOCKET", manager.path())];
        let daemon = Daemon::start_with(&guests(&[("a", "")]), &[], &environment);
        assert_eq!(manager.told(), "READY=1\n");
        daemon.signal(Signal::HUP);
        let reloading = manager.told();
        assert!(
            reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reloading}"
        );
        assert_eq!(manager.told(), "READY=1\n");
        daemon.wait_for("event=applied guests=+0-0~0 generation=1");
        assert_eq!(daemon.end().0.code(), Some(0));
        assert_eq!(manager.told(), "STOPPING=1\n");
    });
}

#[test]
fn a_service_manager_that_watches_is_given_signs_of_life_for_as_long_as_it_wants() {
    in_namespace(|| {
        let manager = Manager::new();
        let environment = [
            ("NOTIFY_SOCKET", manager.path()),
            ("WATCHDOG_USEC", "200000".into()),
        ];
        let start = Instant::now();
        let daemon = Daemon::start_with(&guests(&[("a", "")]), &[], &environment);
        assert_eq!(manager.told(), "READY=1\n");
        for _ in 0..5 {
            assert_eq!(manager.told(), "WATCHDOG=1\n");
        }
        // Half of what it waits for is between two of them, and before the first.
        assert!(start.elapsed() >= Duration::from_millis(500), "{start:?}");
        assert_eq!(daemon.end().0.code(), Some(0));
        let last = std::iter::repeat_with(|| manager.told()).find(|told| told != "WATCHDOG=1\n");
        assert_eq!(last.as_deref(), Some("STOPPING=1\n"));
    });
}
