//! Classes that have the limits of another one: what is wrong with that, and what it comes to.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::config::{ClassConfig, TreeConfig};
use super::error::TreeError;
use super::id::ClassId;
use super::settings::Profile;
use crate::units::{Burst, PacketBurst};

/// Whose limits each class has, as an index, if not its own. Parents are in order already.
pub(super) fn owners(
    tree: &TreeConfig,
    parents: &[Option<usize>],
) -> Result<Vec<Option<usize>>, TreeError> {
    if tree.classes.iter().all(|class| class.limits_of.is_none()) {
        return Ok(vec![None; tree.classes.len()]);
    }
    let index: BTreeMap<ClassId, usize> =
        tree.classes.iter().map(|class| class.id).zip(0..).collect();
    let owner = |class: &ClassConfig| {
        let Some(other) = class.limits_of else {
            return Ok(None);
        };
        let id = class.id;
        check_limitless(class, other)?;
        if other == id {
            return Err(TreeError::OwnTwin { id });
        }
        let &at = index.get(&other).ok_or(TreeError::NoTwin { id, other })?;
        match tree.classes.get(at).and_then(|owner| owner.limits_of) {
            Some(third) => Err(TreeError::TwinOfTwin { id, other, third }),
            None => Ok(Some(at)),
        }
    };
    let owners: Vec<_> = tree.classes.iter().map(owner).collect::<Result<_, _>>()?;
    let group = |at: usize| owners.get(at).copied().flatten().unwrap_or(at);
    let up = |&at: &usize| parents.get(at).copied().flatten();
    for (at, class) in tree.classes.iter().enumerate() {
        let mut above = std::iter::successors(up(&at), up);
        if let Some(above) = above.find(|&above| group(above) == group(at)) {
            let above = tree.classes.get(above).map_or(class.id, |above| above.id);
            return Err(TreeError::TwinAbove {
                id: class.id,
                above,
            });
        }
    }
    Ok(owners)
}

/// Whether a class that has the limits of another has none itself.
pub(crate) fn check_limitless(class: &ClassConfig, other: ClassId) -> Result<(), TreeError> {
    let own = [
        ("ceil", class.ceil.is_some()),
        ("cburst", class.cburst != Burst::Auto),
        ("pps", class.pps.is_some()),
        ("ppsburst", class.pps_burst != PacketBurst::Auto),
        ("pace", class.pace),
    ];
    match own.into_iter().find(|(_, is_set)| *is_set) {
        Some((what, _)) => Err(TreeError::TwinWithLimits {
            id: class.id,
            other,
            what,
        }),
        None => Ok(()),
    }
}

/// The same tree, where every class has its limits written to it.
pub(super) fn resolved<'a>(tree: &'a TreeConfig, owners: &[Option<usize>]) -> Cow<'a, TreeConfig> {
    if owners.iter().all(Option::is_none) {
        return Cow::Borrowed(tree);
    }
    let mut written = tree.clone();
    for (class, owner) in written.classes.iter_mut().zip(owners) {
        if let Some(owner) = owner.and_then(|owner| tree.classes.get(owner)) {
            (class.ceil, class.cburst) = (owner.ceil, owner.cburst);
            (class.pps, class.pps_burst) = (owner.pps, owner.pps_burst);
            class.pace = owner.pace;
        }
    }
    Cow::Owned(written)
}

impl Profile {
    /// The same with the limits of another class, to the last digit.
    pub(crate) const fn limited_as(self, other: &Self) -> Self {
        Self {
            ceil: other.ceil,
            pps: other.pps,
            ceiling: other.ceiling,
            ..self
        }
    }
}
