//! A guest whose frames are held. What it sends stays in its ring, or where it was already; what is sent to
//! it waits in its queues as far as they hold it. To its uplink and its rings it is there as before.
//!
//! A leaf is held when its turn comes, not before: so one that a change of the tree has made is held as
//! well, and one that others let go (the uplink takes frames again, the guest has buffers again) is held
//! again.

use super::lan::Lan;
use super::port::{Now, Port};

impl Lan {
    /// Holds a port's frames, or lets them go.
    pub(super) fn pause(&mut self, port: &mut Port, paused: bool, now: Now) {
        if port.paused == paused {
            return;
        }
        port.paused = paused;
        if paused {
            // Nobody asks it for buffers as long as nothing is to be given to it.
            self.unblock(port, now);
            port.blocked.since = None;
            port.blocked.stalled = false;
            return;
        }
        for leaf in port.from.keys() {
            self.from.engine.unblock(leaf, now.time());
        }
        for leaf in port.to.keys() {
            self.to.engine.unblock(leaf, now.time());
        }
    }
}
