//! Numbers in the file: their bounds, lists of VLANs, and addresses that go up with a guest's number.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::fault::ConfigFault;
use super::keys::Vlans;
use crate::args::MacAddr;
use crate::file::FileError;
use crate::file::text::Found;
use crate::file::value::OneOrMore;

/// VLANs that frames can be in; 0 and 4095 are reserved (IEEE 802.1Q).
pub(super) const VLANS: RangeInclusive<u16> = 1..=4094;

/// Whether a number is one that this may be.
pub(super) fn within<T: Copy + Into<u64>>(
    what: &'static str,
    found: Found<'_, T>,
    range: &RangeInclusive<T>,
) -> Result<T, FileError> {
    let value = *found.value();
    let [value_is, least, most] = [value, *range.start(), *range.end()].map(Into::into);
    if (least..=most).contains(&value_is) {
        return Ok(value);
    }
    Err(found.fault(ConfigFault::OutOfRange {
        what,
        value: value_is,
        least,
        most,
    }))
}

/// The VLANs of a trunk, sorted.
pub(super) fn trunk(found: Found<'_, OneOrMore<Vlans>>) -> Result<Vec<u16>, FileError> {
    let OneOrMore(ranges) = found.value();
    let mut vlans = Vec::new();
    for Vlans(range) in ranges {
        for end in [range.first(), range.last()] {
            if !VLANS.contains(&end) {
                return Err(found.fault(ConfigFault::OutOfRange {
                    what: "a VLAN",
                    value: end.into(),
                    least: (*VLANS.start()).into(),
                    most: (*VLANS.end()).into(),
                }));
            }
        }
        vlans.extend(range.first()..=range.last());
    }
    vlans.sort_unstable();
    let twice = vlans.windows(2).find(|pair| pair.first() == pair.last());
    if let Some(&[vlan, _]) = twice {
        return Err(found.fault(ConfigFault::VlanTwice(vlan)));
    }
    if vlans.is_empty() {
        return Err(found.fault(ConfigFault::Needs {
            what: "a trunk".to_owned(),
            needs: "at least one VLAN",
        }));
    }
    Ok(vlans)
}

/// The address that is `number` after `base`; none if that is no NIC's.
pub(super) fn mac_at(base: MacAddr, number: u32) -> Option<MacAddr> {
    let [a, b, c, d, e, f] = base.octets();
    let base = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let [high, low, octets @ ..] = base.checked_add(number.into())?.to_be_bytes();
    let mac = MacAddr::try_from(octets).ok()?;
    ((high, low) == (0, 0)).then_some(mac)
}

/// The prefix of the same length that is `number` after `base`; none beyond the last one.
pub(super) fn prefix_at(base: IpNet, number: u32) -> Option<IpNet> {
    let free = u32::from(base.max_prefix_len() - base.prefix_len());
    let step = u128::from(number).checked_shl(free);
    // Every bit of the address is free: there is only one such prefix.
    let step = if number == 0 { 0 } else { step? };
    let address = match base.network() {
        IpAddr::V4(address) => {
            let bits = u128::from(address.to_bits()).checked_add(step)?;
            IpAddr::V4(u32::try_from(bits).ok()?.into())
        }
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().checked_add(step)?.into()),
    };
    // What was shifted out beyond 128 bits went too far as well.
    let whole = number == 0 || step >> free == u128::from(number);
    let moved = IpNet::new(address, base.prefix_len()).ok()?;
    whole.then_some(moved)
}
