//! Captured frames as a pcapng file (draft-ietf-opsawg-pcapng) that Wireshark opens.

use std::borrow::Cow;
use std::io::{self, Write};

use netqos::control::Direction;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, PcapError};

use crate::capture::Frame;

/// Times are in 10^-9 s (if_tsresol, §4.2).
const NANOSECONDS: u8 = 9;

/// Packet directions of epb_flags (§4.3): into the interface, and out of it.
const INBOUND: u32 = 0b01;
const OUTBOUND: u32 = 0b10;

/// A file that has one interface: the guest's NIC.
pub(crate) struct Pcapng<W: Write> {
    writer: PcapNgWriter<W>,
}

impl<W: Write> Pcapng<W> {
    pub(crate) fn new(writer: W, guest: &str, snap: u32) -> io::Result<Self> {
        let program = concat!("netqosctl ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(program.into())],
            ..SectionHeaderBlock::default()
        };
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: snap,
            options: vec![
                InterfaceDescriptionOption::IfName(guest.into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        let mut writer = PcapNgWriter::with_section_header(writer, section).map_err(plain)?;
        writer.write_pcapng_block(interface).map_err(plain)?;
        Ok(Self { writer })
    }

    /// Appends a frame, with its class and what was done with it as comment.
    pub(crate) fn put(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let direction = match frame.direction {
            Direction::FromGuest => OUTBOUND,
            Direction::ToGuest => INBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: frame.time,
            original_len: frame.len,
            data: Cow::Borrowed(&frame.bytes),
            options: vec![
                EnhancedPacketOption::Comment(frame.comment().into()),
                EnhancedPacketOption::Flags(direction),
            ],
        };
        self.writer
            .write_pcapng_block(block)
            .map(drop)
            .map_err(plain)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
