//! The side that opens. It is the same code whether it runs in a process of its own or in the daemon's.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::policy::Policy;
use super::wire::{Given, MAX_DESCRIPTORS, Refusal, RefusalKind, Request, Wanted};
use crate::listen::{Connector, Listener, SocketFile};
use crate::sandbox::{Seccomp, state};
use crate::uplink::macvtap::{Macvtap, MacvtapFacts};
use crate::uplink::tap::{Tap, TapFacts};
use crate::uplink::{DeviceFacts, Facts, Uplink, UplinkError};

/// Reads the configuration again, as often as asked.
pub(super) type Load = Box<dyn FnMut() -> Result<Policy, String> + Send>;

/// What the requests are checked against.
enum Rules {
    /// Who asks could do it as well.
    Trusting,
    Checking {
        policy: Policy,
        load: Load,
    },
}

/// Opens what it is asked for, if it may, and remembers what is to be undone.
pub(super) struct Service {
    rules: Rules,
    /// By the configuration's name; what we know of them is not the daemon's to say.
    uplinks: BTreeMap<String, Facts>,
    sockets: BTreeMap<PathBuf, SocketFile>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("uplinks", &self.uplinks)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

type Done = Result<(Given, Vec<OwnedFd>), Refusal>;

impl Service {
    /// One that opens whatever it is asked for.
    pub(super) fn trusting() -> Self {
        Self::new(Rules::Trusting)
    }

    /// One that opens what the policy has, as loaded now.
    pub(super) fn checking(mut load: Load) -> Result<Self, String> {
        let policy = load()?;
        Ok(Self::new(Rules::Checking { policy, load }))
    }

    /// What becomes of the process when it makes a system call that opening does not take.
    pub(super) const fn seccomp(&self) -> Seccomp {
        match &self.rules {
            Rules::Trusting => Seccomp::Off,
            Rules::Checking { policy, .. } => policy.seccomp(),
        }
    }

    fn new(rules: Rules) -> Self {
        Self {
            rules,
            uplinks: BTreeMap::new(),
            sockets: BTreeMap::new(),
        }
    }

    /// Does what is asked. Descriptors that are of no use to the request are closed.
    pub(super) fn serve(&mut self, request: Request, fds: Vec<OwnedFd>) -> Done {
        match request {
            Request::Uplink(wanted) => self.uplink(wanted),
            Request::SetMtu { uplink, mtu } => self.set_mtu(&uplink, mtu).map(done),
            Request::Remove { uplink } => self.remove(&uplink, fds).map(done),
            Request::Listen { path, mode, group } => self.listen(path, mode, group),
            Request::Unlisten { path } => self.unlisten(&path).map(done),
            Request::SetAccess { path, mode, group } => {
                self.set_access(&path, mode, group).map(done)
            }
            Request::Connect { path } => self.connect(&path),
            Request::State => match state::read() {
                Ok(state) => Ok((Given::State(state), Vec::new())),
                Err(error) => Err(failed(&error)),
            },
            Request::Reload => self.reload().map(done),
            Request::End => {
                self.sockets.clear();
                Ok(done(()))
            }
        }
    }

    /// The daemon died: its socket files stay for the one that comes after it.
    pub(super) fn leave(self) {
        self.sockets.into_values().for_each(SocketFile::leave);
    }

    fn uplink(&mut self, wanted: Wanted) -> Done {
        if let Rules::Checking { policy, .. } = &self.rules {
            policy.check_uplink(&wanted).map_err(not_allowed)?;
        }
        if usize::from(wanted.queues) > MAX_DESCRIPTORS {
            let Wanted { name, queues, .. } = wanted;
            let text = format!("uplink `{name}`: {queues} queues; at most {MAX_DESCRIPTORS} work");
            return Err(Refusal::new(RefusalKind::Failed, text));
        }
        let config = wanted.into();
        let uplink = Uplink::open(&config).map_err(|e| failed(&e))?;
        let (facts, fds) = uplink.into_parts();
        self.uplinks.insert(config.name, facts.clone());
        Ok((Given::Uplink(facts), fds))
    }

    fn set_mtu(&mut self, name: &str, mtu: u16) -> Result<(), Refusal> {
        match &mut self.opened(name)?.device {
            DeviceFacts::Tap(facts) => {
                set_tap_mtu(facts, mtu).map_err(|e| failed(&e))?;
                facts.mtu = mtu;
            }
            DeviceFacts::Macvtap(facts) => {
                set_macvtap_mtu(facts, mtu).map_err(|e| failed(&e))?;
                facts.mtu = mtu;
            }
            DeviceFacts::Packet(_) | DeviceFacts::None { .. } => {}
        }
        Ok(())
    }

    fn remove(&mut self, name: &str, fds: Vec<OwnedFd>) -> Result<(), Refusal> {
        let facts = self.opened(name)?.clone();
        Uplink::from_parts(facts, fds)
            .and_then(Uplink::remove_if_ours)
            .map_err(|e| failed(&e))?;
        self.uplinks.remove(name);
        Ok(())
    }

    fn opened(&mut self, name: &str) -> Result<&mut Facts, Refusal> {
        self.uplinks
            .get_mut(name)
            .ok_or_else(|| not_allowed(format!("uplink `{name}` was not opened before")))
    }

    fn listen(&mut self, path: PathBuf, mode: u32, group: Option<u32>) -> Done {
        self.check_socket(&path)?;
        check_mode(&path, mode)?;
        let listener = Listener::bind(&path, mode, group).map_err(|e| failed(&e))?;
        let (socket, file) = listener.into_parts();
        if let Some(file) = file {
            // One that was there before is a stale one's, and gone already.
            self.sockets.insert(path, file);
        }
        Ok((Given::Socket, vec![socket]))
    }

    fn unlisten(&mut self, path: &Path) -> Result<(), Refusal> {
        match self.sockets.remove(path) {
            Some(file) => {
                drop(file);
                Ok(())
            }
            None => Err(not_made(path)),
        }
    }

    fn set_access(&self, path: &Path, mode: u32, group: Option<u32>) -> Result<(), Refusal> {
        check_mode(path, mode)?;
        let file = self.sockets.get(path).ok_or_else(|| not_made(path))?;
        // The file may have been another group's before.
        let group = group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        file.set_access(mode, Some(group)).map_err(|e| failed(&e))
    }

    fn connect(&self, path: &Path) -> Done {
        self.check_socket(path)?;
        let mut connector = Connector::new(path).map_err(|e| failed(&e))?;
        let stream = connector.connect().map_err(|e| failed(&e))?;
        Ok((Given::Socket, vec![stream.into()]))
    }

    fn check_socket(&self, path: &Path) -> Result<(), Refusal> {
        match &self.rules {
            Rules::Trusting => Ok(()),
            Rules::Checking { policy, .. } => policy.check_socket(path).map_err(not_allowed),
        }
    }

    fn reload(&mut self) -> Result<(), Refusal> {
        if let Rules::Checking { policy, load } = &mut self.rules {
            *policy = load().map_err(|text| Refusal::new(RefusalKind::Failed, text))?;
        }
        Ok(())
    }
}

/// The MTU is the link's, so this takes none of the queues.
fn set_tap_mtu(facts: &TapFacts, mtu: u16) -> Result<(), UplinkError> {
    let facts = TapFacts {
        queues: 0,
        ..facts.clone()
    };
    Ok(Tap::from_parts(facts, Vec::new())?.set_mtu(mtu)?)
}

fn set_macvtap_mtu(facts: &MacvtapFacts, mtu: u16) -> Result<(), UplinkError> {
    let facts = MacvtapFacts {
        queues: 0,
        ..facts.clone()
    };
    Macvtap::from_parts(facts, Vec::new())?.set_mtu(mtu)
}

fn done((): ()) -> (Given, Vec<OwnedFd>) {
    (Given::Done, Vec::new())
}

fn check_mode(path: &Path, mode: u32) -> Result<(), Refusal> {
    if mode & !0o777 == 0 {
        return Ok(());
    }
    let text = format!("{}: mode {mode:o} is more than 0777", path.display());
    Err(Refusal::new(RefusalKind::Malformed, text))
}

fn not_made(path: &Path) -> Refusal {
    not_allowed(format!("{}: was not made here", path.display()))
}

fn not_allowed(message: String) -> Refusal {
    Refusal::new(RefusalKind::NotAllowed, message)
}

/// What went wrong, and whether trying later may help.
fn failed(error: &(dyn Error + 'static)) -> Refusal {
    let kind = if ran_out(error) {
        RefusalKind::Exhausted
    } else {
        RefusalKind::Failed
    };
    Refusal::new(kind, error.to_string())
}

/// Whether the error comes from a lack of descriptors or memory.
fn ran_out(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        cause.downcast_ref().is_some_and(|error: &io::Error| {
            matches!(
                error.raw_os_error(),
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
            )
        })
    })
}
