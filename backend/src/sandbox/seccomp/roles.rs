//! Which threads there are, and what each of them calls.
//!
//! A call is here because the whole-system tests make it, or for the reason that is given. What the standard
//! library, glibc's allocator and its threads need is the same everywhere: [`always`] and [`threads`].
//! Never seen in the tests, and kept: a clock where the vDSO has none, `restart_syscall`, what an abort
//! takes, `getcwd` and `lseek` for paths and files of the configuration, and a macvtap's node in a container.

use libc as c;
use libc::c_long;

use super::allowed::{Allowed, Test};
use crate::uplink::requests;

/// What a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The first thread, with all sessions and the control socket; another process opens for it.
    Main,
    /// The same where there is no other process.
    Alone,
    /// The protocol engine of one session.
    Engine,
    /// A packet thread.
    Shard,
    /// Those that answer HTTP.
    Web,
    /// The process that opens.
    Opener,
}

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Main,
        Self::Alone,
        Self::Engine,
        Self::Shard,
        Self::Web,
        Self::Opener,
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Alone => "alone",
            Self::Engine => "engine",
            Self::Shard => "shard",
            Self::Web => "web",
            Self::Opener => "opener",
        }
    }

    /// Its list.
    pub(super) fn allowed(self) -> Allowed {
        let mut calls = Allowed::default();
        always(&mut calls);
        match self {
            Self::Main => main(&mut calls),
            Self::Alone => {
                main(&mut calls);
                opener(&mut calls);
            }
            Self::Engine => engine(&mut calls),
            Self::Shard => shard(&mut calls),
            Self::Web => web(&mut calls),
            Self::Opener => opener(&mut calls),
        }
        calls
    }
}

/// Numbers that only old processors have, and the others by other names.
#[cfg(target_arch = "x86_64")]
const OLD_POLL: &[c_long] = &[c::SYS_epoll_wait, c::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLD_POLL: &[c_long] = &[];

/// `open` beside `openat`, for rustix.
#[cfg(target_arch = "x86_64")]
const OLD_OPEN: &[c_long] = &[c::SYS_open, c::SYS_mkdir, c::SYS_rmdir, c::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const OLD_OPEN: &[c_long] = &[];

/// What every thread needs.
fn always(calls: &mut Allowed) {
    calls.any(&[
        // The log and a panic's last words; eventfds, taps and sockets.
        c::SYS_write,
        c::SYS_writev,
        c::SYS_read,
        c::SYS_close,
        // Mutexes, channels, joining a thread.
        c::SYS_futex,
        // What the vDSO cannot tell itself: on some hosts it has no clock.
        c::SYS_clock_gettime,
        c::SYS_gettimeofday,
        // The allocator, and a thread's stack when it ends.
        c::SYS_brk,
        c::SYS_munmap,
        c::SYS_mremap,
        c::SYS_madvise,
        // Keys of hash maps.
        c::SYS_getrandom,
        // A signal's handler runs on any thread, wakes the first one (`sendto` below), and at a second
        // SIGTERM ends the process.
        c::SYS_rt_sigreturn,
        c::SYS_rt_sigprocmask,
        c::SYS_restart_syscall,
        c::SYS_exit_group,
        // A thread's beginning, its end, and a panic's message, which names it.
        c::SYS_exit,
        c::SYS_gettid,
        c::SYS_sigaltstack,
        c::SYS_sched_getaffinity,
        // An abort, with the two below.
        c::SYS_getpid,
    ]);
    calls.when(c::SYS_sendto, [Test::is_null(4)]);
    // A program with debug assertions looks at what it closes.
    fcntls(calls, &[c::F_GETFD]);
    no_code(calls);
    calls.when(c::SYS_tgkill, [Test::is(0, std::process::id())]);
    calls.when(
        c::SYS_rt_sigaction,
        [Test::is(0, c::SIGABRT.cast_unsigned())],
    );
}

/// Memory, as long as nothing in it can be executed.
fn no_code(calls: &mut Allowed) {
    let executable = c::PROT_EXEC.cast_unsigned().into();
    for call in [c::SYS_mmap, c::SYS_mprotect] {
        calls.when(call, [Test::has(2, executable, 0)]);
    }
}

/// Waiting on a poller of ours, or one of tokio's.
fn polls(calls: &mut Allowed) {
    calls.any(&[c::SYS_epoll_pwait, c::SYS_epoll_ctl, c::SYS_timerfd_settime]);
    calls.any(OLD_POLL);
}

/// Making threads, and nothing else that `clone` can make. What `clone3` is to make cannot be seen from a
/// filter; without it glibc takes `clone`.
fn threads(calls: &mut Allowed) {
    const PTHREAD: i32 = c::CLONE_VM
        | c::CLONE_FS
        | c::CLONE_FILES
        | c::CLONE_SIGHAND
        | c::CLONE_THREAD
        | c::CLONE_SYSVSEM
        | c::CLONE_SETTLS
        | c::CLONE_PARENT_SETTID
        | c::CLONE_CHILD_CLEARTID;
    // Musl sets one that has had no meaning for twenty years.
    let mask = !u64::from(c::CLONE_DETACHED.cast_unsigned());
    let flags = u64::from(PTHREAD.cast_unsigned());
    calls.when(c::SYS_clone, [Test::has(0, mask, flags)]);
    calls.refuse(c::SYS_clone3);
    calls.any(&[c::SYS_set_robust_list, c::SYS_rseq]);
    calls.when(c::SYS_prctl, [Test::is(0, c::PR_SET_NAME.cast_unsigned())]);
}

/// `openat`, which a thread without files meets all the same: glibc asks for `vm.overcommit_memory` when it
/// shrinks a heap, and a panic for its backtrace looks for the program's file. Both go without.
fn no_files(calls: &mut Allowed) {
    calls.refuse(c::SYS_openat);
}

fn ioctls(calls: &mut Allowed, requests: &[c::c_ulong]) {
    for request in requests {
        // Requests are 32 bits wide, whatever the type is.
        calls.when(c::SYS_ioctl, [Test::has(1, u32::MAX.into(), *request)]);
    }
}

fn fcntls(calls: &mut Allowed, commands: &[c::c_int]) {
    for command in commands {
        calls.when(c::SYS_fcntl, [Test::is(1, command.cast_unsigned())]);
    }
}

fn shard(calls: &mut Allowed) {
    polls(calls);
    no_files(calls);
    calls.any(&[
        // Large frames from a tap.
        c::SYS_readv,
        // Packet sockets: frames with what is told beside them.
        c::SYS_recvmsg,
        // What the packet socket's kernel can do, asked when an uplink comes.
        c::SYS_uname,
    ]);
    ioctls(calls, &requests::serving());
}

fn engine(calls: &mut Allowed) {
    no_files(calls);
    calls.any(&[
        // Messages, with the descriptors of memory and of rings.
        c::SYS_recvmsg,
        c::SYS_sendmsg,
        c::SYS_shutdown,
    ]);
}

fn web(calls: &mut Allowed) {
    polls(calls);
    // The thread that asks the daemon comes with a request, and goes when there are none.
    threads(calls);
    no_files(calls);
    calls.any(&[c::SYS_accept4, c::SYS_recvfrom, c::SYS_shutdown]);
    // With debug assertions tokio looks whether a socket blocks.
    fcntls(calls, &[c::F_GETFL]);
}

fn main(calls: &mut Allowed) {
    polls(calls);
    calls.any(&[
        // Front-ends, callers and the opener.
        c::SYS_accept4,
        c::SYS_recvmsg,
        c::SYS_recvfrom,
        c::SYS_sendmsg,
        c::SYS_shutdown,
        c::SYS_getsockopt,
        c::SYS_ppoll,
        // Whether a caller who is not root may call, and the group of a socket that has none of its own.
        c::SYS_geteuid,
        c::SYS_getegid,
        // What a front-end's descriptors are of.
        c::SYS_fstat,
        c::SYS_fstatfs,
        // An engine: its thread, its exit event, and what the crate polls with.
        c::SYS_epoll_create1,
        c::SYS_eventfd2,
        // What the packet socket's kernel can do.
        c::SYS_uname,
        // The opener's end.
        c::SYS_wait4,
        // Files and directories of the configuration, and `/proc/self`.
        c::SYS_statx,
        c::SYS_newfstatat,
        c::SYS_getdents64,
        c::SYS_lseek,
        c::SYS_getcwd,
    ]);
    threads(calls);
    // The private socket of an engine, the front-end that listens, the service manager's.
    calls.when(c::SYS_socket, [Test::is(0, c::AF_UNIX.cast_unsigned())]);
    calls.any(&[c::SYS_connect]);
    // The configuration, when it is read again: landlock says which files these can be.
    let writes = c::O_WRONLY | c::O_RDWR | c::O_CREAT | c::O_TRUNC | c::O_APPEND;
    let writes = u64::from(writes.cast_unsigned());
    calls.when(c::SYS_openat, [Test::has(2, writes, 0)]);
    // Modules of the name service, whose files landlock keeps away already: groups are those of
    // `/etc/group` then.
    let executable = c::PROT_EXEC.cast_unsigned().into();
    calls.refuse_when(c::SYS_mmap, Test::has(2, executable, executable));
    fcntls(calls, &[c::F_GETFL, c::F_SETFL, c::F_DUPFD_CLOEXEC]);
    ioctls(calls, &requests::trying());
    // Room for more descriptors, in this process.
    calls.when(c::SYS_prlimit64, [Test::is(0, 0)]);
    // For `netqosctl sandbox`.
    let dumpable = c::PR_GET_DUMPABLE.cast_unsigned();
    calls.when(c::SYS_prctl, [Test::is(0, dumpable)]);
    // An engine's thread, which has these filters from its beginning, sets its own.
    let privileges = c::PR_SET_NO_NEW_PRIVS.cast_unsigned();
    calls.when(c::SYS_prctl, [Test::is(0, privileges)]);
    let set = c::SECCOMP_SET_MODE_FILTER;
    calls.when(c::SYS_seccomp, [Test::is(0, set)]);
}

/// It opens what the daemon asks for, so what keeps it from other files is its policy, not this.
fn opener(calls: &mut Allowed) {
    calls.any(OLD_OPEN);
    calls.any(OLD_POLL);
    calls.any(&[
        // The daemon.
        c::SYS_ppoll,
        c::SYS_recvmsg,
        c::SYS_sendmsg,
        // The configuration, and what is at a socket's path.
        c::SYS_openat,
        c::SYS_statx,
        c::SYS_newfstatat,
        c::SYS_fstat,
        c::SYS_getdents64,
        c::SYS_lseek,
        c::SYS_getcwd,
        // Listening sockets, their files, and the lock of their directory.
        c::SYS_bind,
        c::SYS_listen,
        c::SYS_connect,
        c::SYS_fchmod,
        c::SYS_fchmodat,
        c::SYS_fchownat,
        c::SYS_flock,
        c::SYS_unlinkat,
        c::SYS_getegid,
        // Links, and packet sockets.
        c::SYS_sendto,
        c::SYS_recvfrom,
        c::SYS_setsockopt,
        c::SYS_uname,
        // A tap's owner.
        c::SYS_geteuid,
        // Waiting for a tap or a lock that is taken.
        c::SYS_clock_nanosleep,
        // A macvtap's node, where the host makes none: its number from a sysfs of this network namespace.
        c::SYS_fsopen,
        c::SYS_fsconfig,
        c::SYS_fsmount,
        c::SYS_mknodat,
        c::SYS_mkdirat,
        c::SYS_statfs,
        c::SYS_fstatfs,
    ]);
    for family in [c::AF_UNIX, c::AF_NETLINK, c::AF_PACKET] {
        calls.when(c::SYS_socket, [Test::is(0, family.cast_unsigned())]);
    }
    ioctls(calls, &requests::opening());
    // For `netqosctl sandbox`.
    let dumpable = c::PR_GET_DUMPABLE.cast_unsigned();
    calls.when(c::SYS_prctl, [Test::is(0, dumpable)]);
    // Modules of the name service that were not needed before: groups are those of `/etc/group` then.
    let executable = c::PROT_EXEC.cast_unsigned().into();
    calls.refuse_when(c::SYS_mmap, Test::has(2, executable, executable));
}
