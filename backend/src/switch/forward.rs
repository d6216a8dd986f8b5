//! Where a frame goes.

use super::tags::Tags;

/// Where a frame goes, and what becomes of its tag there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// To one port, and not to the uplink.
    Port(Delivery),
    /// To the uplink alone.
    Uplink(TagChange),
    /// To the ports that [`super::Switch::receivers`] names, and to the uplink if [`Flood::uplink`] says so.
    Flood(Flood),
}

/// One port that is to get a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The port's number.
    pub port: u32,
    /// What is to be done to the frame's bytes first.
    pub tag: TagChange,
}

/// What is to be done to the bytes of a frame on the way to one receiver. It is about the bytes as they
/// were given: a tag that the kernel took off and that the receiver is to see is a [`Self::Push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagChange {
    /// Nothing.
    Keep,
    /// Insert a tag (TPID 0x8100) with this control information behind the source address.
    Push(u16),
    /// Take off the outer tag.
    Pop,
    /// Write this control information into the outer tag: a priority tag gets its VLAN.
    Set(u16),
}

/// A frame for several receivers. It holds no borrow; ask for the receivers before the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The port it is from; none if from the uplink.
    pub(super) source: Option<u32>,
    pub(super) tags: Tags,
    pub(super) audience: Audience,
    pub(super) now: u64,
}

/// Who among the members of a VLAN gets a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// All.
    All,
    /// Those without an address of their own, who may have any.
    Open,
    /// Those who joined the group with this key, and those who get all groups.
    Group(u64),
    /// Those who asked for reports.
    Routers,
    /// Those for whom nothing is checked.
    Unguarded,
}

impl Flood {
    /// What is to be done to the frame on its way to the uplink; `None` if it does not go there.
    #[must_use]
    pub fn uplink(&self) -> Option<TagChange> {
        self.source.map(|_| self.tags.outside())
    }
}
