//! Why a frame goes nowhere.

/// A frame that the switch drops. Its sender is at fault, or nobody is there to take it; the caller
/// counts the reason and completes the frame as if it had been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The frame is from a port that was never set, or is gone.
    #[error("the port is not part of the segment")]
    NoPort,
    /// The frame ends before what must be checked.
    #[error("the frame is too short for what it must show")]
    Truncated,
    /// The port is not in the frame's VLAN, or may not send tags, or there are more than two.
    #[error("the port may not send frames tagged like this")]
    Vlan,
    /// The source address is another port's, or not the port's own.
    #[error("the Ethernet source address is not the port's to use")]
    SpoofedMac,
    /// ARP or RARP that names a sender other than the port's.
    #[error("the ARP sender is not the port's address")]
    SpoofedArp,
    /// IP from an address outside of the port's.
    #[error("the IP source address is not one of the port's")]
    SpoofedIp,
    /// Neighbour discovery that names a link-layer address or a target other than the port's.
    #[error("the neighbour discovery message names what is not the port's")]
    SpoofedNd,
    /// A message to DHCP clients from a port that is not trusted with it.
    #[error("the port may not answer DHCP clients")]
    RogueDhcp,
    /// A router's advertisement or redirect from a port that is not trusted with it.
    #[error("the port may not advertise or redirect routes")]
    RogueRouter,
    /// Headers that cannot be followed, or that a fragment keeps back.
    #[error("the headers cannot be followed to what must be checked")]
    Hidden,
    /// A frame that only the two ends of a cable exchange: pause, spanning tree, LLDP.
    #[error("the frame is link control, which no guest sends")]
    LinkControl,
    /// The destination is in the same isolation group.
    #[error("the destination is isolated from the sender")]
    Isolated,
    /// The destination is where the frame comes from.
    #[error("the destination is behind the port that sent the frame")]
    Hairpin,
    /// No port can have the destination.
    #[error("nobody here has the destination address")]
    NoDestination,
}

impl Refused {
    /// Number of variants, for arrays of counters.
    pub const COUNT: usize = 14;
    /// Every variant, at its [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::NoPort,
        Self::Truncated,
        Self::Vlan,
        Self::SpoofedMac,
        Self::SpoofedArp,
        Self::SpoofedIp,
        Self::SpoofedNd,
        Self::RogueDhcp,
        Self::RogueRouter,
        Self::Hidden,
        Self::LinkControl,
        Self::Isolated,
        Self::Hairpin,
        Self::NoDestination,
    ];

    /// A stable index below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPort => "no-port",
            Self::Truncated => "truncated",
            Self::Vlan => "vlan",
            Self::SpoofedMac => "spoofed-mac",
            Self::SpoofedArp => "spoofed-arp",
            Self::SpoofedIp => "spoofed-ip",
            Self::SpoofedNd => "spoofed-nd",
            Self::RogueDhcp => "rogue-dhcp",
            Self::RogueRouter => "rogue-router",
            Self::Hidden => "hidden-headers",
            Self::LinkControl => "link-control",
            Self::Isolated => "isolated",
            Self::Hairpin => "hairpin",
            Self::NoDestination => "no-destination",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_is_at_its_index_under_its_own_name() {
        for (at, refused) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(refused.index(), at);
        }
        let names: HashSet<_> = Refused::ALL.iter().map(|refused| refused.name()).collect();
        assert_eq!(names.len(), Refused::COUNT);
    }
}
