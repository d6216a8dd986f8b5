//! Lists of system calls, and the filters that they become.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// What has to hold of one argument: its bits of the mask are these.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    argument: u8,
    length: Length,
    mask: u64,
    value: u64,
}

/// How much of an argument the kernel looks at.
#[derive(Clone, Copy, Debug)]
enum Length {
    Int,
    Long,
}

impl Test {
    /// The argument of this number, which the kernel takes as an int, is this.
    pub(super) const fn is(argument: u8, value: u32) -> Self {
        Self {
            argument,
            length: Length::Int,
            mask: u32::MAX as u64,
            value: value as u64,
        }
    }

    /// The argument of this number, which the kernel takes as a pointer, is null.
    pub(super) const fn is_null(argument: u8) -> Self {
        Self {
            argument,
            length: Length::Long,
            mask: u64::MAX,
            value: 0,
        }
    }

    /// Of the argument of this number, which the kernel takes as a long, these bits are the value.
    pub(super) const fn has(argument: u8, mask: u64, value: u64) -> Self {
        Self {
            argument,
            length: Length::Long,
            mask,
            value,
        }
    }

    fn condition(self) -> Result<SeccompCondition, BackendError> {
        let length = match self.length {
            Length::Int => SeccompCmpArgLen::Dword,
            Length::Long => SeccompCmpArgLen::Qword,
        };
        let masked = SeccompCmpOp::MaskedEq(self.mask);
        SeccompCondition::new(self.argument, length, masked, self.value)
    }
}

/// How a call may be made: in any way, or so that all tests of one of these lists hold.
#[derive(Debug)]
enum Ways {
    Any,
    Some(Vec<Vec<Test>>),
}

impl Ways {
    fn rules(&self) -> Result<Vec<SeccompRule>, BackendError> {
        let Self::Some(ways) = self else {
            return Ok(Vec::new());
        };
        let rule = |tests: &Vec<Test>| {
            let tests: Result<_, _> = tests.iter().map(|test| test.condition()).collect();
            SeccompRule::new(tests?)
        };
        ways.iter().map(rule).collect()
    }
}

/// The calls that a thread may make.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    calls: BTreeMap<c_long, Ways>,
    /// Calls that are not made, and answered as by a kernel that does not have them.
    refused: BTreeMap<c_long, Ways>,
}

impl Allowed {
    /// These calls, however they are made.
    pub(super) fn any(&mut self, calls: &[c_long]) {
        let any = calls.iter().map(|call| (*call, Ways::Any));
        self.calls.extend(any);
    }

    /// This call, made so. Several ways add up.
    pub(super) fn when<const N: usize>(&mut self, call: c_long, tests: [Test; N]) {
        let ways = self.calls.entry(call).or_insert(Ways::Some(Vec::new()));
        if let Ways::Some(ways) = ways {
            ways.push(tests.to_vec());
        }
    }

    /// This call does not kill: it fails with `ENOSYS`. For what libraries can do without.
    pub(super) fn refuse(&mut self, call: c_long) {
        self.refused.insert(call, Ways::Any);
    }

    /// This call, made so, does not kill: it fails with `ENOSYS`.
    pub(super) fn refuse_when(&mut self, call: c_long, test: Test) {
        self.refused.insert(call, Ways::Some(vec![vec![test]]));
    }

    /// The filters, in the order in which they are to be set: of several the strictest decides.
    pub(super) fn programs(
        mut self,
        forbidden: &SeccompAction,
        processor: TargetArch,
    ) -> Result<Vec<BpfProgram>, BackendError> {
        let mut programs = Vec::new();
        // Where calls are only looked at, those for what can be done without are as good as any.
        if *forbidden == SeccompAction::KillProcess && !self.refused.is_empty() {
            let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
            let refused = rules(&self.refused)?;
            let filter = SeccompFilter::new(refused, SeccompAction::Allow, missing, processor)?;
            programs.push(filter.try_into()?);
        }
        for (call, ways) in std::mem::take(&mut self.refused) {
            match ways {
                Ways::Any => self.any(&[call]),
                Ways::Some(ways) => {
                    let called = self.calls.entry(call).or_insert(Ways::Some(Vec::new()));
                    if let Ways::Some(called) = called {
                        called.extend(ways);
                    }
                }
            }
        }
        let calls = rules(&self.calls)?;
        let filter = SeccompFilter::new(calls, forbidden.clone(), SeccompAction::Allow, processor)?;
        programs.push(filter.try_into()?);
        Ok(programs)
    }
}

fn rules(calls: &BTreeMap<c_long, Ways>) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let rules = calls.iter().map(|(call, ways)| Ok((*call, ways.rules()?)));
    rules.collect()
}
