//! Bulk transfers as a guest without offloads sends them, in a pcap file that DPDK's `net_pcap` sends again
//! and again: frames of one flow that a receiver's stack would join (checksums, identifications and sequence
//! numbers are those of one transfer).

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapPacket, PcapWriter};
use tempfile::TempDir;

use crate::error::{Context, Error, Result};
use crate::front_end::Frame;
use crate::scratch;

/// Frames before the transfer begins again, which nothing joins: once in so many it makes no difference.
const FRAMES: u32 = 4096;
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 2];
const TO: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// What carries the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Segments of one TCP connection.
    Tcp,
    /// Datagrams of one UDP flow, with checksums.
    Udp,
}

/// A transfer in a file, which goes with it.
#[derive(Debug)]
pub struct Replay {
    _folder: TempDir,
    path: PathBuf,
    headers: usize,
    payload: usize,
}

impl Replay {
    /// Writes a transfer in frames of `frame_len` bytes each.
    ///
    /// # Errors
    /// [`Error::Setup`] if the frames are too short for any payload, [`Error::Io`] if the file cannot be
    /// written.
    pub fn new(protocol: Protocol, frame_len: u16) -> Result<Self> {
        Self::between(protocol, frame_len, FROM, TO)
    }

    /// The same from one station to another.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn between(protocol: Protocol, frame_len: u16, from: [u8; 6], to: [u8; 6]) -> Result<Self> {
        let frame = |payload, seed| match protocol {
            Protocol::Tcp => Frame::tcp4(payload, seed),
            Protocol::Udp => Frame::udp4(payload, seed),
        };
        let headers = frame(0, 0).headers_len();
        let payload = usize::from(frame_len).saturating_sub(headers);
        if payload == 0 {
            return Err(Error::Setup("frames too short for any payload"));
        }
        let folder = scratch::folder("pcap")?;
        let path = folder.path().join("bulk.pcap");
        let what = || format!("writing {}", path.display());
        let file = File::create(&path).context(what())?;
        let failed = |error: pcap_file::PcapError| std::io::Error::other(error.to_string());
        let mut pcap = PcapWriter::new(BufWriter::new(file))
            .map_err(failed)
            .context(what())?;
        for number in 0..FRAMES {
            let frame = frame(payload, number.into()).in_sequence(number);
            let bytes = frame.from_mac(from).to_mac(to).bytes;
            let packet = PcapPacket::new(Duration::ZERO, frame_len.into(), &bytes);
            pcap.write_packet(&packet).map_err(failed).context(what())?;
        }
        drop(pcap);
        Ok(Self {
            _folder: folder,
            path,
            headers,
            payload,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of each frame before its payload.
    #[must_use]
    pub const fn headers(&self) -> usize {
        self.headers
    }

    /// Bytes of payload in each frame.
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_written_whole() {
        let replay = Replay::new(Protocol::Tcp, 64).unwrap();
        // A header of 24 bytes, and of 16 for each frame (pcap).
        let len = std::fs::metadata(replay.path()).unwrap().len();
        assert_eq!(len, 24 + u64::from(FRAMES) * (16 + 64));
        assert_eq!((replay.headers(), replay.payload()), (54, 10));
        assert!(Replay::new(Protocol::Tcp, 54).is_err());
    }
}
