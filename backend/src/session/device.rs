//! The requests about the session and the device as a whole.

use super::config::MIN_MTU;
use super::machine::{Action, Fault, Granted, Session};
use super::message::{Fields, Message, parse_u64};
use super::reason::{Malformed, Refusal};
use super::request::size;

/// The flags that GET_CONFIG may carry: writable fields only, live migration.
const CONFIG_FLAGS: u32 = 0x3;

impl Session {
    pub(super) fn set_owner(&mut self, message: Message) -> Result<Granted, Fault> {
        if self.owned {
            return Err(Refusal::AlreadyOwned.into());
        }
        self.owned = true;
        Ok(Granted::Engine(message))
    }

    /// Comes once per ring pair, so the same set may come again while rings are started.
    pub(super) fn set_features(&mut self, message: Message) -> Result<Granted, Fault> {
        let features = parse_u64(&message.body)?;
        let unknown = features & !self.config.offered_features();
        if unknown != 0 {
            return Err(Refusal::FeatureBits(unknown).into());
        }
        if self.features != Some(features) && self.rings.iter().any(|ring| ring.started) {
            return Err(Refusal::FeaturesInUse.into());
        }
        self.features = Some(features);
        Ok(Granted::Engine(message))
    }

    pub(super) fn set_protocol_features(&mut self, message: &Message) -> Result<Granted, Fault> {
        let features = parse_u64(&message.body)?;
        let unknown = features & !self.config.offered_protocol_features();
        if unknown != 0 {
            return Err(Refusal::FeatureBits(unknown).into());
        }
        self.protocol_features = features;
        Ok(Granted::Here)
    }

    /// After a reset the device may not touch guest memory (virtio 1.3 §2.4), so started rings
    /// are stopped; front-ends that follow up with GET_VRING_BASE find them so.
    pub(super) fn set_status(
        &mut self,
        message: &Message,
        out: &mut Vec<Action>,
    ) -> Result<Granted, Fault> {
        let value = parse_u64(&message.body)?;
        self.status = u8::try_from(value).map_err(|_| Refusal::Value(value))?;
        if self.status == 0 {
            self.stop_rings(|ring| ring.started);
        }
        out.push(Action::Status(self.status));
        Ok(Granted::Here)
    }

    pub(super) fn net_set_mtu(
        &self,
        message: &Message,
        out: &mut Vec<Action>,
    ) -> Result<Granted, Fault> {
        let value = parse_u64(&message.body)?;
        let range = MIN_MTU..=self.config.max_mtu;
        match u16::try_from(value) {
            Ok(mtu) if range.contains(&mtu) => out.push(Action::SetMtu(mtu)),
            _ => return Err(Refusal::Value(value).into()),
        }
        Ok(Granted::Here)
    }

    /// Offset and size must lie within the device's configuration space (hostile row 70).
    pub(super) fn get_config(&self, message: Message) -> Result<Granted, Fault> {
        let mut fields = Fields::new(&message.body);
        let (offset, len, flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let payload = message.body.len().saturating_sub(size::CONFIG_HEAD);
        let end = offset.checked_add(len);
        if len == 0 || end.is_none_or(|end| end > self.config.config_len) {
            return Err(Refusal::Value(u64::from(len)).into());
        }
        if usize::try_from(len).ok() != Some(payload) {
            return Err(Malformed::Size(message.body.len()).into());
        }
        if flags & !CONFIG_FLAGS != 0 {
            return Err(Refusal::Value(u64::from(flags)).into());
        }
        Ok(Granted::Engine(message))
    }
}

/// The MAC address is the first six bytes of the number as it lies in memory.
pub(super) fn send_rarp(message: &Message, out: &mut Vec<Action>) -> Result<Granted, Fault> {
    let value = parse_u64(&message.body)?;
    let [a, b, c, d, e, f, ..] = value.to_ne_bytes();
    if a & 1 != 0 || [a, b, c, d, e, f] == [0; 6] {
        return Err(Refusal::Value(value).into());
    }
    out.push(Action::Rarp([a, b, c, d, e, f]));
    Ok(Granted::Here)
}
