//! What holds of this process, as the kernel tells it.

use std::io;

use rustix::process::{DumpableBehavior, dumpable_behavior};
use rustix::thread::CapabilitySet;

use super::seccomp;
use crate::control::answer::{Capabilities, ProcessState, ThreadState};

/// Where the threads are.
const TASKS: &str = "/proc/self/task";

/// What holds of this process and each of its threads now.
///
/// # Errors
/// `/proc` is not there, or is not as proc(5) has it.
pub fn read() -> io::Result<ProcessState> {
    let mut state = ProcessState {
        pid: std::process::id(),
        no_new_privs: true,
        dumpable: dumpable_behavior()? != DumpableBehavior::NotDumpable,
        ..ProcessState::default()
    };
    for task in std::fs::read_dir(TASKS)? {
        let task = task?;
        let status = match std::fs::read_to_string(task.path().join("status")) {
            Ok(status) => Status(status),
            // It has ended meanwhile.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        status.add_to(&mut state, id.ok_or(io::ErrorKind::InvalidData)?)?;
    }
    state.threads.sort_by_key(|thread| thread.id);
    Ok(state)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The text of a thread's `status`.
struct Status(String);

impl Status {
    fn value(&self, key: &str) -> io::Result<&str> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.map(str::trim).ok_or_else(|| missing(key))
    }

    fn number(&self, key: &str) -> io::Result<u32> {
        self.value(key)?.parse().map_err(|_| missing(key))
    }

    /// The effective one of the four.
    fn effective(&self, key: &str) -> io::Result<u32> {
        let id = self.value(key)?.split_whitespace().nth(1);
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| missing(key))
    }

    fn capabilities(&self, key: &str) -> io::Result<Vec<String>> {
        let bits = u64::from_str_radix(self.value(key)?, 16).map_err(|_| missing(key))?;
        Ok(names(CapabilitySet::from_bits_retain(bits)))
    }

    /// Adds a thread. What a process has is what any of its threads has.
    fn add_to(&self, state: &mut ProcessState, id: i32) -> io::Result<()> {
        let role = seccomp::role_of(id);
        state.threads.push(ThreadState {
            id,
            name: self.value("Name")?.to_owned(),
            role: role.map(|role| role.name().to_owned()),
            seccomp: match self.number("Seccomp")? {
                0 => "none",
                1 => "strict",
                _ => "filter",
            }
            .to_owned(),
            // Linux 5.9.
            filters: self.number("Seccomp_filters").ok(),
        });
        state.uid = self.effective("Uid")?;
        state.gid = self.effective("Gid")?;
        let groups = self.value("Groups")?.split_whitespace();
        state.groups = groups.filter_map(|group| group.parse().ok()).collect();
        state.no_new_privs &= self.number("NoNewPrivs")? == 1;
        let Capabilities {
            inheritable,
            permitted,
            effective,
            bounding,
            ambient,
        } = &mut state.capabilities;
        for (set, key) in [
            (inheritable, "CapInh"),
            (permitted, "CapPrm"),
            (effective, "CapEff"),
            (bounding, "CapBnd"),
            (ambient, "CapAmb"),
        ] {
            set.extend(self.capabilities(key)?);
        }
        Ok(())
    }
}

fn missing(key: &str) -> io::Error {
    let text = format!("{TASKS} does not tell {key}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// As capabilities(7) calls them; those that have no name here yet by their numbers.
fn names(set: CapabilitySet) -> Vec<String> {
    let named = set.iter_names().fold(0, |bits, (_, one)| bits | one.bits());
    let known = set.iter_names().map(|(name, _)| name.to_lowercase());
    let others = (0..u64::BITS).filter(|number| (set.bits() & !named) >> number & 1 == 1);
    let names = known.chain(others.map(|number| number.to_string()));
    names.map(|name| format!("cap_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described_as_it_is() {
        let waiting = std::thread::Builder::new().name("waiting".to_owned());
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let (come, there) = std::sync::mpsc::channel();
        let wait = move || {
            come.send(()).unwrap();
            wait.recv()
        };
        let thread = waiting.spawn(wait).unwrap();
        there.recv().unwrap();
        let state = read().unwrap();
        assert_eq!(state.pid, std::process::id());
        assert_eq!(state.uid, rustix::process::geteuid().as_raw());
        assert!(state.dumpable && !state.no_new_privs);
        let found = state.threads.iter().find(|it| it.name == "waiting");
        let found = found.expect("the thread");
        assert_eq!((found.seccomp.as_str(), &found.role), ("none", &None));
        drop(end);
        thread.join().unwrap().unwrap_err();
    }

    #[test]
    fn capabilities_have_names_and_new_ones_numbers() {
        let set = CapabilitySet::NET_ADMIN | CapabilitySet::from_bits_retain(1 << 60);
        assert_eq!(names(set), ["cap_net_admin", "cap_60"]);
        assert!(names(CapabilitySet::empty()).is_empty());
    }
}
