//! TCP bytes of a known pattern, hashed where they arrive.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::pattern::{self, Pattern};
use guest_tests::protocol::StreamReport;
use sha2::{Digest, Sha256};

/// How long the sender tries to connect: the receiver may still be starting.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn receive(port: u16) -> io::Result<StreamReport> {
    let (mut stream, _) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?.accept()?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; 65_536];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(pattern::report(bytes, hash));
        }
        hash.update(chunk.get(..count).unwrap_or(&[]));
        bytes += count as u64;
    }
}

pub(crate) fn send(to: SocketAddr, bytes: u64, seed: u64, pause_us: u64) -> io::Result<()> {
    let mut stream = connect(to)?;
    let mut pattern = Pattern::new(seed);
    let mut left = bytes;
    while left > 0 {
        let block = pattern.next_block(left);
        stream.write_all(block)?;
        left -= block.len() as u64;
        if pause_us > 0 {
            thread::sleep(Duration::from_micros(pause_us));
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // The other side's close says that it has read everything.
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(to) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}
