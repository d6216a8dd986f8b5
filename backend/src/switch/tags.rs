//! VLAN tags (IEEE 802.1Q): in which VLAN a frame is, and how each receiver is to see it.
//!
//! The uplink is the common ground. There, frames of a VLAN are tagged, and untagged ones are in none.
//! Transparent ports see what the uplink sees; an access port sees its VLAN untagged; a trunk sees its
//! VLANs tagged and its native one untagged. So untagged frames from the uplink or from transparent
//! ports never reach access ports and trunks, and theirs reach transparent ports with a tag.
//! Only a tag with TPID 0x8100 names a VLAN; service tags (0x88a8) are content, which access ports and
//! trunks may not send.

use super::{Refused, TagChange};
use crate::config::VlanConfig;

const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
/// The VLAN's number in tag control information; above it are priority and drop eligibility.
const VID: u16 = 0xfff;

/// The tags of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tags {
    /// The VLAN it is in; 0 for none.
    pub(super) vlan: u16,
    /// The tag it has, or will get.
    tci: u16,
    shape: Shape,
    /// Behind the tag, or in its place if that was taken off, is another.
    inner: bool,
}

/// What stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// No tag.
    Bare,
    /// A service tag, which is nobody's business.
    Foreign,
    /// No tag: the kernel took it off.
    Stripped,
    /// A tag with a VLAN.
    Tagged,
    /// A tag without a VLAN.
    Priority,
}

impl Tags {
    /// Reads the tags of a frame as the uplink or a transparent port has it. `taken` is the tag that is
    /// not in the bytes any more.
    #[inline]
    pub(super) fn read(head: &[u8], taken: Option<u16>) -> Result<Self, Refused> {
        let ethertype = be16(head, 12).ok_or(Refused::Truncated)?;
        if let Some(tci) = taken {
            return Ok(Self {
                vlan: tci & VID,
                tci,
                shape: Shape::Stripped,
                inner: is_tag(ethertype),
            });
        }
        let mut tags = Self {
            vlan: 0,
            tci: 0,
            shape: Shape::Bare,
            inner: false,
        };
        match ethertype {
            CUSTOMER => {
                let pair = be16(head, 14).zip(be16(head, 16));
                let (tci, behind) = pair.ok_or(Refused::Truncated)?;
                tags.tci = tci;
                tags.vlan = tci & VID;
                tags.shape = if tags.vlan == 0 {
                    Shape::Priority
                } else {
                    Shape::Tagged
                };
                tags.inner = is_tag(behind);
            }
            SERVICE => tags.shape = Shape::Foreign,
            _ => {}
        }
        Ok(tags)
    }

    /// Puts the frame into `vlan` if its bytes name none.
    fn put_into(self, vlan: u16) -> Result<Self, Refused> {
        match self.shape {
            // Behind a priority tag that is rewritten or popped, another would come to light.
            Shape::Bare | Shape::Priority if !self.inner => Ok(Self {
                vlan,
                tci: (self.tci & !VID) | vlan,
                ..self
            }),
            _ => Err(Refused::Vlan),
        }
    }

    /// The change for those who see the frame as it is on the uplink.
    #[inline]
    pub(super) fn outside(&self) -> TagChange {
        match self.shape {
            Shape::Stripped => TagChange::Push(self.tci),
            _ if self.vlan == 0 => TagChange::Keep,
            Shape::Bare => TagChange::Push(self.tci),
            Shape::Priority => TagChange::Set(self.tci),
            Shape::Foreign | Shape::Tagged => TagChange::Keep,
        }
    }

    /// The change for those who see the frame's VLAN untagged.
    fn untagged(&self) -> TagChange {
        match self.shape {
            Shape::Bare | Shape::Foreign | Shape::Stripped => TagChange::Keep,
            Shape::Tagged | Shape::Priority => TagChange::Pop,
        }
    }
}

/// Which VLANs a port is in, as looked up for each frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Transparent,
    Access(u16),
    Trunk {
        vlans: Box<VlanSet>,
        native: Option<u16>,
    },
}

/// One bit for each VLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VlanSet([u64; 64]);

impl VlanSet {
    fn of(vlans: impl IntoIterator<Item = u16>) -> Self {
        let mut set = Self([0; 64]);
        for vlan in vlans {
            if let Some(word) = set.0.get_mut(usize::from(vlan >> 6)) {
                *word |= 1 << (vlan & 63);
            }
        }
        set
    }

    #[inline]
    fn contains(&self, vlan: u16) -> bool {
        let word = self.0.get(usize::from(vlan >> 6)).copied();
        word.unwrap_or_default() & (1 << (vlan & 63)) != 0
    }
}

impl Membership {
    pub(super) fn new(config: &VlanConfig) -> Self {
        match config {
            VlanConfig::Transparent => Self::Transparent,
            VlanConfig::Access(vlan) => Self::Access(*vlan),
            VlanConfig::Trunk { vlans, native } => Self::Trunk {
                vlans: Box::new(VlanSet::of(vlans.iter().chain(native).copied())),
                native: *native,
            },
        }
    }

    pub(super) fn is_transparent(&self) -> bool {
        matches!(self, Self::Transparent)
    }

    /// The tags of a frame that the port sends.
    #[inline]
    pub(super) fn admit(&self, head: &[u8]) -> Result<Tags, Refused> {
        let tags = Tags::read(head, None)?;
        match self {
            Self::Transparent => Ok(tags),
            Self::Access(vlan) => tags.put_into(*vlan),
            Self::Trunk { vlans, native } => match tags.shape {
                Shape::Tagged if vlans.contains(tags.vlan) => Ok(tags),
                Shape::Bare | Shape::Priority => tags.put_into(native.ok_or(Refused::Vlan)?),
                _ => Err(Refused::Vlan),
            },
        }
    }

    /// How the port is to see a frame; `None` if it is not in the frame's VLAN.
    #[inline]
    pub(super) fn take(&self, tags: &Tags) -> Option<TagChange> {
        match self {
            Self::Transparent => Some(tags.outside()),
            Self::Access(vlan) => (*vlan == tags.vlan).then(|| tags.untagged()),
            Self::Trunk { vlans, native } => {
                let member = tags.vlan != 0 && vlans.contains(tags.vlan);
                // A tag behind the native one must not become the outer one: it would name a VLAN of
                // the sender's choice.
                let bare = *native == Some(tags.vlan) && !tags.inner;
                member.then(|| {
                    if bare {
                        tags.untagged()
                    } else {
                        tags.outside()
                    }
                })
            }
        }
    }
}

pub(super) fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, CUSTOMER | SERVICE)
}

#[inline]
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}
