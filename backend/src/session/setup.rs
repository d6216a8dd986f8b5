//! The requests that set up memory and rings.

use super::machine::{Action, Fault, Granted, Session};
use super::memory::{Region, Table};
use super::message::{Message, RingState, parse_u64};
use super::reason::Refusal;
use super::ring::{Addresses, Ring, check_event};

/// A look-up that bounds the full 32-bit index (hostile row 60).
fn ring_mut(rings: &mut [Ring], index: u32) -> Result<&mut Ring, Refusal> {
    usize::try_from(index)
        .ok()
        .and_then(|index| rings.get_mut(index))
        .ok_or_else(|| Refusal::NoSuchRing(u64::from(index)))
}

impl Session {
    pub(super) fn set_mem_table(
        &mut self,
        mut message: Message,
        out: &mut Vec<Action>,
    ) -> Result<Granted, Fault> {
        let (table, body) = Table::parse(&message.body, &mut message.fds)?;
        message.body = body;
        self.change_table(table, out);
        Ok(Granted::Engine(message))
    }

    pub(super) fn add_mem_reg(&mut self, message: Message) -> Result<Granted, Fault> {
        let region = Region::parse_single(&message.body)?;
        let attachment = message.fds.first().ok_or(Refusal::MissingDescriptor)?;
        let new = self.table.add(region, attachment)?;
        Ok(if new {
            Granted::Engine(message)
        } else {
            Granted::Here
        })
    }

    pub(super) fn rem_mem_reg(
        &mut self,
        mut message: Message,
        out: &mut Vec<Action>,
    ) -> Result<Granted, Fault> {
        let region = Region::parse_single(&message.body)?;
        let Some(table) = self.table.without(&region)? else {
            return Ok(Granted::Here);
        };
        message.fds.clear();
        self.change_table(table, out);
        Ok(Granted::Engine(message))
    }

    /// Takes the new table. A ring that it does not leave at its guest addresses loses them, and
    /// is stopped before the engine hears of the table (hostile row 66).
    fn change_table(&mut self, table: Table, out: &mut Vec<Action>) {
        let old = std::mem::replace(&mut self.table, table);
        for ring in &mut self.rings {
            if !ring.stays(&old, &self.table) {
                ring.addresses = None;
            }
        }
        let lost = self.stop_rings(|ring| ring.started && ring.addresses.is_none());
        out.extend(lost.into_iter().map(Action::RingLost));
    }

    pub(super) fn set_vring_num(&mut self, message: Message) -> Result<Granted, Fault> {
        let RingState { index, num } = RingState::parse(&message.body)?;
        let max = self.config.max_ring_size;
        let ring = ring_mut(&mut self.rings, index)?;
        let size = u16::try_from(num)
            .ok()
            .filter(|size| size.is_power_of_two() && *size <= max)
            .ok_or_else(|| Refusal::Value(u64::from(num)))?;
        ring.check_stopped(index)?;
        ring.size = Some(size);
        Ok(Granted::Engine(message))
    }

    /// The size may still change until the ring starts, so this asks for room for one descriptor
    /// if none is set, and the start asks again.
    pub(super) fn set_vring_addr(&mut self, message: Message) -> Result<Granted, Fault> {
        let (index, flags, addresses) = Addresses::parse(&message.body)?;
        let ring = ring_mut(&mut self.rings, index)?;
        // The only flag asks for dirty logging.
        if flags != 0 {
            return Err(Refusal::Value(u64::from(flags)).into());
        }
        ring.check_stopped(index)?;
        addresses
            .resolve(ring.size.unwrap_or(1), &self.table)
            .ok_or(Refusal::RingAddresses(index))?;
        ring.addresses = Some(addresses);
        Ok(Granted::Engine(message))
    }

    pub(super) fn set_vring_base(&mut self, message: Message) -> Result<Granted, Fault> {
        let RingState { index, num } = RingState::parse(&message.body)?;
        let ring = ring_mut(&mut self.rings, index)?;
        let base = u16::try_from(num).map_err(|_| Refusal::Value(u64::from(num)))?;
        ring.check_stopped(index)?;
        ring.base = Some(base);
        Ok(Granted::Engine(message))
    }

    /// Stops the ring; it may be one that never started. Enabled it stays.
    pub(super) fn get_vring_base(&mut self, message: Message) -> Result<Granted, Fault> {
        let RingState { index, .. } = RingState::parse(&message.body)?;
        let ring = ring_mut(&mut self.rings, index)?;
        ring.started = false;
        ring.base = None;
        Ok(Granted::Engine(message))
    }

    /// Starts the ring, or swaps the kick event of a started one.
    pub(super) fn set_vring_kick(&mut self, message: Message) -> Result<Granted, Fault> {
        let index = check_event(parse_u64(&message.body)?, &message.fds)?;
        let ring = ring_mut(&mut self.rings, index)?;
        if message.fds.is_empty() {
            return Err(Refusal::PolledRing(index).into());
        }
        if self.features.is_none() {
            return Err(Refusal::NoFeatures.into());
        }
        ring.check_complete(index, &self.table)?;
        ring.started = true;
        Ok(Granted::Engine(message))
    }

    pub(super) fn set_vring_event(&mut self, message: Message) -> Result<Granted, Fault> {
        let index = check_event(parse_u64(&message.body)?, &message.fds)?;
        ring_mut(&mut self.rings, index)?;
        Ok(Granted::Engine(message))
    }

    /// Before SET_FEATURES the value is kept, the last one for each ring, and acknowledged.
    pub(super) fn set_vring_enable(&mut self, message: Message) -> Result<Granted, Fault> {
        let RingState { index, num } = RingState::parse(&message.body)?;
        let (early, negotiated) = (self.features.is_none(), self.has_protocol_features());
        let ring = ring_mut(&mut self.rings, index)?;
        let on = match num {
            0 => false,
            1 => true,
            _ => return Err(Refusal::Value(u64::from(num)).into()),
        };
        if early {
            ring.deferred = Some(on);
            return Ok(Granted::Here);
        }
        if !negotiated {
            return Err(Refusal::NoProtocolFeatures.into());
        }
        ring.enabled = on;
        Ok(Granted::Engine(message))
    }
}
