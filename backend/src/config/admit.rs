//! Admission: the whole tree of each uplink and direction, put together and held against itself.

use qos::{ClassConfig, ClassId, TreeConfig, TreeError};

use super::fault::ConfigFault;
use super::words::{in_words, sum_in_words};
use super::{Config, Direction, UplinkConfig};
use crate::file::settings::key;
use crate::plan::{self, Ids, Whole};

/// MTU of an uplink that does not say: Ethernet's (IEEE 802.3).
const USUAL_MTU: u16 = 1500;
/// What a frame is on the wire besides its payload: Ethernet header, preamble, check sequence and gap.
const WIRE_OVERHEAD: u32 = 14 + 24;

/// The most that counts as one frame, whatever the MTU, in wire bytes: a burst of 64 KiB holds any.
const LARGEST_UNIT: u32 = 64 << 10;

/// What a class of a whole tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// All of the uplink.
    Uplink,
    /// A class of a guest.
    Guest {
        /// Position of the guest in [`Config::guests`].
        guest: usize,
        /// Position of the class in the guest's tree; 0 is the guest itself.
        class: usize,
    },
}

/// Why a whole tree may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub fault: Box<ConfigFault>,
    /// Position of the uplink.
    pub uplink: usize,
    /// Which of its trees.
    pub direction: Direction,
    /// The class at fault.
    pub member: Member,
    /// Its key at fault, if one is.
    pub key: Option<&'static str>,
}

/// What the class of this id is.
fn member(whole: &Whole, id: ClassId) -> Option<Member> {
    match whole.owners.get(&id) {
        Some(&(guest, class)) => Some(Member::Guest { guest, class }),
        None if [plan::ROOT, plan::UPLINK].contains(&id) => Some(Member::Uplink),
        None => None,
    }
}

impl UplinkConfig {
    /// What one full-size frame is, in wire bytes: a burst has to hold that much.
    #[must_use]
    pub fn unit_wire_bytes(&self) -> u32 {
        let frame = u32::from(self.mtu.unwrap_or(USUAL_MTU)) + WIRE_OVERHEAD;
        frame.min(LARGEST_UNIT)
    }
}

impl Config {
    /// Whether all trees may run.
    ///
    /// # Errors
    /// The first thing wrong, in words that name guests and classes.
    pub fn admit(&self) -> Result<(), Refusal> {
        for (uplink, config) in self.uplinks.iter().enumerate() {
            for direction in Direction::BOTH {
                let whole = plan::whole(self, uplink, direction, &mut Ids::default());
                whole.tree.check().map_err(|error| {
                    let (fault, member) = self.fault(&whole, config, direction, &error);
                    let key = key(&error);
                    Refusal {
                        fault: Box::new(fault),
                        uplink,
                        direction,
                        member,
                        key,
                    }
                })?;
            }
        }
        Ok(())
    }

    fn fault(
        &self,
        whole: &Whole,
        uplink: &UplinkConfig,
        direction: Direction,
        error: &TreeError,
    ) -> (ConfigFault, Member) {
        let name = |id| self.member_name(uplink, direction, member(whole, id));
        if let &TreeError::Overcommitted { id, asked, given } = error
            && let Some(child) = beyond(&whole.tree, id, given)
        {
            let is_root = member(whole, id) == Some(Member::Uplink);
            let fault = ConfigFault::Overcommitted {
                rate: child.rate.map_or_else(String::new, |rate| rate.to_string()),
                who: name(child.id),
                what: if is_root { "the guests" } else { "the classes" },
                above: name(id),
                asked: sum_in_words(asked),
                given: sum_in_words(given),
                direction: direction.key(),
                raise: if is_root { "ceil" } else { "rate" },
            };
            return (fault, member(whole, child.id).unwrap_or(Member::Uplink));
        }
        let member = error.class().and_then(|id| member(whole, id));
        let fault = ConfigFault::Tree(in_words(&error.to_string(), name));
        (fault, member.unwrap_or(Member::Uplink))
    }

    /// What messages call a class.
    fn member_name(
        &self,
        uplink: &UplinkConfig,
        direction: Direction,
        member: Option<Member>,
    ) -> String {
        let Some(Member::Guest { guest, class }) = member else {
            return format!("uplink `{}`", uplink.name);
        };
        let Some(guest) = self.guests.get(guest) else {
            return "a guest".to_owned();
        };
        let tree = guest.tree(direction);
        let class = tree.classes.get(class).and_then(|it| tree.name(it.id));
        match class {
            Some(class) => format!("class `{class}` of guest `{}`", guest.name),
            None => format!("guest `{}`", guest.name),
        }
    }
}

/// The child with whose guarantee those of its parent become too much, in their order.
fn beyond(tree: &TreeConfig, parent: ClassId, given: u64) -> Option<&ClassConfig> {
    let mut sum = 0_u64;
    let mut children = tree
        .classes
        .iter()
        .filter(|class| class.parent == Some(parent));
    children.find(|child| {
        let rate = child.rate.map_or(0, qos::Rate::bits_per_second);
        sum = sum.saturating_add(rate);
        sum > given
    })
}
