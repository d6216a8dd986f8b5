//! Names for what a run makes, so that a later run can remove what a killed one left: `nq-PID-...`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Context, Result};

const MARK: &str = "nq-";

/// What the names of this run begin with.
pub(crate) fn prefix() -> String {
    format!("{MARK}{}-", std::process::id())
}

/// A folder for a guest's, daemon's or namespace's files; its path is short, for the sake of socket names.
pub(crate) fn folder(kind: &str) -> Result<TempDir> {
    TempDir::with_prefix(format!("{}{kind}-", prefix())).context("making a scratch folder")
}

/// Whether a name is that of a run whose process is gone.
pub(crate) fn is_left_over(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Removes the folders of runs that are no longer there.
pub(crate) fn sweep() {
    let entries = fs::read_dir(std::env::temp_dir());
    for entry in entries.into_iter().flatten().flatten() {
        if is_left_over(&entry.file_name().to_string_lossy()) {
            // Another run may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process a name of ours belongs to.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(MARK)?.split_once('-')?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("nq-123-4"), Some(123));
        assert_eq!(owner("nq-123-guest-xyz"), Some(123));
        assert_eq!(owner("nq-123"), None);
        assert_eq!(owner("nq-x-1"), None);
        assert_eq!(owner("blue"), None);
    }

    #[test]
    fn a_running_process_leaves_nothing_over() {
        assert!(!is_left_over(&format!("{}0", prefix())));
        // Beyond the largest number the kernel gives (PID_MAX_LIMIT, 2^22).
        assert!(is_left_over("nq-4194305-0"));
    }
}
