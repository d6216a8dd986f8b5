//! A daemon with an honest guest, one that means no good, and one whose addresses are guarded.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Port, Segment, Wire};
use guest_tests::{Control, Result};
use serde_json::Value;

pub(crate) const SOON: Duration = Duration::from_secs(2);
/// More than the two seconds that a message may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);
/// The first pair's rings, as messages number them.
pub(crate) const RECEIVE: usize = 0;
pub(crate) const TRANSMIT: usize = 1;
/// Who attacks.
pub(crate) const HOSTILE: &str = "hostile";
pub(crate) const GUARDED: &str = "guarded";
pub(crate) const HONEST: &str = "honest";
pub(crate) const HONEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub(crate) const GUARDED_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];
/// Somebody on the other side of the uplink.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// As often is a frame sent in one attack.
const FRAMES: u64 = 64;

/// The uplink takes super-frames and the largest frames. With a second one whose addresses are open, it is
/// remembered who is behind the uplink, and what one guest sends there comes to no other.
const TEXT: &str = "control = \"{dir}/control.sock\"\n\
    [uplink.lan]\nkind = \"tap:tap1\"\nmtu = 65521\n\
    [guest.honest]\nmac = \"02:00:00:00:00:0a\"\n\
    [guest.hostile]\n[guest.bystander]\n\
    [guest.guarded]\nmac = \"02:00:00:00:00:0c\"\naddresses = [\"198.18.0.2\"]\n";

/// A daemon and all its ends.
pub(crate) struct Stage {
    pub(crate) segment: Segment,
    pub(crate) wire: Wire,
    control: Control,
}

/// What a process holds: descriptors, threads, and mappings of guest memory.
pub(crate) type Held = (usize, usize, usize);

/// The attacker's frames wait in queues of the daemon's then, and not in its ring.
const CLASSES: &str = "[guest.hostile.from_guest]\ndefault = \"rest\"\n\
    [[guest.hostile.from_guest.class]]\nname = \"voice\"\n\
    [[guest.hostile.from_guest.class]]\nname = \"rest\"\n\
    [[guest.hostile.from_guest.rule]]\ndscp = \"EF\"\nclass = \"voice\"\n";

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        Self::of(TEXT)
    }

    /// One whose attacker has classes.
    pub(crate) fn with_classes() -> Result<Self> {
        Self::of(&format!("{TEXT}{CLASSES}"))
    }

    fn of(text: &str) -> Result<Self> {
        let segment = Segment::new(text, &[HONEST, HOSTILE, GUARDED])?;
        let wire = segment.wire("tap1")?;
        let control = Control::new(segment.daemon.folder().join("control.sock"))?;
        Ok(Self {
            segment,
            wire,
            control,
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.segment.daemon.socket(HOSTILE)
    }

    /// The attacker's front-end, for small frames.
    pub(crate) fn front_end(&self) -> FrontEnd {
        self.segment.front_end(HOSTILE).largest(9000)
    }

    pub(crate) fn port(&self) -> Result<Port> {
        self.front_end().start()
    }

    /// What is reported of a guest.
    fn guest(&self, name: &str) -> Result<Value> {
        let report = self.control.ask(r#"{"do":"report"}"#)?;
        let mut ports = report["ports"].as_array().into_iter().flatten();
        let found = ports.find(|port| port["port"] == name);
        Ok(found.cloned().expect("the guest is reported"))
    }

    /// A number of a guest's report.
    pub(crate) fn count(&self, guest: &str, key: &str) -> Result<u64> {
        Ok(self.guest(guest)?[key].as_u64().unwrap_or(0))
    }

    /// Frames of the hostile and the guarded guest dropped for this reason.
    pub(crate) fn dropped(&self, direction: &str, reason: &str) -> Result<u64> {
        let of = |guest| -> Result<u64> {
            let drops = &self.guest(guest)?[direction]["drops"];
            Ok(drops[reason].as_u64().unwrap_or(0))
        };
        Ok(of(HOSTILE)? + of(GUARDED)?)
    }

    /// Frames of the hostile guest that went through, and that were dropped.
    pub(crate) fn frames(&self) -> Result<[u64; 2]> {
        let counted = &self.guest(HOSTILE)?["from_guest"];
        let drops = counted["drops"].as_object().into_iter().flatten();
        let dropped = drops.filter_map(|(_, count)| count.as_u64()).sum();
        Ok([counted["frames"].as_u64().unwrap_or(0), dropped])
    }

    /// Waits until a count is this.
    pub(crate) fn counts(
        &self,
        what: &str,
        wanted: u64,
        count: impl Fn(&Self) -> Result<u64>,
    ) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let now = count(self)?;
            if now == wanted {
                return Ok(());
            }
            let late = now > wanted || Instant::now() > deadline;
            assert!(!late, "{what}: {now} instead of {wanted}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends this frame many times through a new port.
    pub(crate) fn send_often(&self, frame: &Frame) -> Result<crate::row::Left> {
        self.send_often_by(self.port()?, frame)
    }

    pub(crate) fn send_often_by(&self, mut port: Port, frame: &Frame) -> Result<crate::row::Left> {
        for _ in 0..FRAMES {
            port.send(frame)?;
        }
        port.settle(SOON)?;
        Ok(crate::row::Left {
            port: Some(port),
            frames: FRAMES,
            ..Default::default()
        })
    }

    /// Whether this frame leaves by the uplink, among others.
    pub(crate) fn leaves(&self, frame: &Frame) -> Result<bool> {
        let deadline = Instant::now() + SOON;
        while let Some(come) = self
            .wire
            .receive(deadline.saturating_duration_since(Instant::now()))?
        {
            if come.bytes == frame.bytes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next frame that leaves by the uplink and is not the honest guest's.
    pub(crate) fn next_leaving(&self) -> Result<Frame> {
        let deadline = Instant::now() + SOON;
        while let Some(come) = self
            .wire
            .receive(deadline.saturating_duration_since(Instant::now()))?
        {
            if come.bytes.get(6..12) != Some(&HONEST_MAC) {
                return Ok(come);
            }
        }
        panic!("nothing leaves");
    }

    pub(crate) fn sends(&self, port: &mut Port) -> Result<()> {
        let frame = Frame::plain(100, 1);
        port.send(&frame)?;
        assert!(self.leaves(&frame)?, "a frame of the guest's leaves");
        Ok(())
    }

    /// Whether a frame from the uplink comes to the guest whole.
    pub(crate) fn receives(&self, port: &mut Port) -> Result<()> {
        let frame = Frame::plain(101, 2).to_mac([2, 0, 0, 0, 0, 0x99]);
        assert!(self.wire.send(&frame)?);
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let come = port.receive(left)?.expect("a frame comes to the guest");
            if come.bytes == frame.bytes {
                return Ok(());
            }
        }
    }

    /// Has sessions come and go until all is there that is set up once.
    pub(crate) fn warm_up(&self) -> Result<()> {
        for _ in 0..5 {
            self.serves()?;
        }
        // From here on it is known where the host is.
        let mut port = self.port()?;
        let known = Frame::plain(60, 1).from_mac(HOST_MAC).to_mac(HONEST_MAC);
        assert!(self.wire.send(&known)?);
        // For everybody, through the pool: what rows use of it has been in use then.
        for seed in 0..1000 {
            port.send(&Frame::plain(9000, seed))?;
        }
        port.settle(SOON)?;
        drop(port);
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }

    /// Whether a new session carries frames.
    pub(crate) fn serves(&self) -> Result<()> {
        let mut port = self.port()?;
        self.sends(&mut port)?;
        self.receives(&mut port)
    }

    pub(crate) fn held(&self) -> Result<Held> {
        let usage = self.segment.daemon.usage()?;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid()));
        let maps = maps.expect("the daemon's mappings");
        let guests = maps.lines().filter(|line| line.contains("/memfd:"));
        Ok((usage.descriptors, usage.threads, guests.count()))
    }

    /// Number of the daemon's process.
    fn pid(&self) -> u32 {
        self.segment.daemon.pid()
    }

    /// The daemon's own memory in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        Ok(self.segment.daemon.usage()?.own)
    }

    /// The daemon's own memory in bytes, when it has given back what it is about to: a memory that was cut short
    /// is its own until it is unmapped.
    pub(crate) fn memory_within(&self, bound: u64) -> Result<u64> {
        let deadline = Instant::now() + SOON;
        loop {
            let memory = self.memory()?;
            if memory <= bound || Instant::now() > deadline {
                return Ok(memory);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the daemon holds no more than this.
    pub(crate) fn comes_to_rest(&self, base: Held) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.held()? != base {
            let late = Instant::now() > deadline;
            assert!(!late, "{:?} instead of {base:?}", self.held()?);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
