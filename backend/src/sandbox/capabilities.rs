//! Taking capabilities away (capabilities(7)), and making sure that they are gone.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::SandboxError;

/// Capability numbers that the kernel's sets have room for.
const NUMBERS: u32 = u64::BITS;

/// Leaves this thread with at most these capabilities, and nothing that could bring others back. Those
/// that it did not have it does not get.
pub(super) fn reduce(keep: CapabilitySet) -> Result<(), SandboxError> {
    let system = |what| move |errno: Errno| SandboxError::System(what, errno.into());
    let before = capabilities(None).map_err(system("read the capabilities"))?;
    // First, because it takes a capability itself.
    if before.effective.contains(CapabilitySet::SETPCAP) {
        bound(keep).map_err(system("lower the bounding set of capabilities"))?;
    }
    clear_ambient_capability_set().map_err(system("clear the ambient capabilities"))?;
    let after = CapabilitySets {
        effective: before.effective & keep,
        permitted: before.permitted & keep,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, after).map_err(system("drop capabilities"))?;
    let left = capabilities(None).map_err(system("read the capabilities"))?;
    let all = left.effective | left.permitted | left.inheritable;
    if !keep.contains(all) {
        return Err(SandboxError::Capabilities(all & !keep));
    }
    Ok(())
}

/// Whether no program that this thread starts can get any capability. Where the set could not be lowered,
/// for want of a capability, `no_new_privs` sees to it.
pub(super) fn is_bounded() -> bool {
    numbers().all(|one| !matches!(capability_is_in_bounding_set(one), Ok(true)))
}

fn bound(keep: CapabilitySet) -> Result<(), Errno> {
    for one in numbers().filter(|one| !keep.contains(*one)) {
        match capability_is_in_bounding_set(one) {
            Ok(true) => remove_capability_from_bounding_set(one)?,
            Ok(false) => {}
            // This kernel has no more of them.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Every capability by itself, those too that have no name here yet.
fn numbers() -> impl Iterator<Item = CapabilitySet> {
    (0..NUMBERS).map(|number| CapabilitySet::from_bits_retain(1 << number))
}
