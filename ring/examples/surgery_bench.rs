//! What frame surgery costs in instructions, counted by callgrind: load on the machine does not matter.
//!
//! `cargo run --release -p netqos-ring --example surgery_bench` prints a line for each operation and
//! frame length: `OPERATION.BYTES VALUE instructions`. It runs itself under `valgrind`.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;

use ring::net::checksum::{Sum, complete, complete_parts};
use ring::{Accepts, ChecksumRequest, HEADER_LEN, Part, Train, inspect_from_host, segment};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ALL: Accepts = Accepts {
    tcp4: true,
    tcp6: true,
    udp: true,
    zero_checksum_udp: false,
    most_bytes: 65_535,
};
/// Frames of a train: as many of the longest as fit in a super-frame.
const TRAIN: u16 = 40;
/// Bytes of a frame, without its check sequence.
const LENGTHS: [usize; 3] = [60, 508, 1514];
const ROUNDS: [u32; 2] = [1_000, 11_000];

/// Frames of one flow, each after its virtio-net header.
struct Flow {
    units: Vec<Vec<u8>>,
}

impl Flow {
    fn new(protocol: u8, partial: bool, length: usize) -> Self {
        let (headers, offset) = if protocol == 6 { (54, 16) } else { (42, 6) };
        // TCP joins nothing shorter.
        let payload = (length - headers).max(if protocol == 6 { 48 } else { 1 });
        let unit = |n: u16| {
            let mut unit = vec![0x5a; HEADER_LEN + headers + payload];
            let (header, frame) = unit.split_at_mut(HEADER_LEN);
            header.fill(0);
            frame[12..14].copy_from_slice(&[8, 0]);
            let ip = &mut frame[14..];
            let total = u16::try_from(ip.len()).unwrap_or(u16::MAX);
            ip[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[4..6].copy_from_slice(&n.to_be_bytes());
            let sum = Sum::new().bytes(&ip[..20]).finish();
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            let l4 = &mut ip[20..];
            if protocol == 6 {
                let sequence = u32::from(n) * u32::try_from(payload).unwrap_or(0);
                l4[4..8].copy_from_slice(&sequence.to_be_bytes());
                l4[12..14].copy_from_slice(&[0x50, 0x10]);
            } else {
                l4[4..6].copy_from_slice(&(total - 20).to_be_bytes());
            }
            let seed = Sum::new()
                .bytes(&ip[12..20])
                .word(u32::from(protocol))
                .word(u32::from(total - 20))
                .fold();
            let at = 20 + usize::from(offset);
            ip[at..at + 2].copy_from_slice(&seed.to_be_bytes());
            let request = ChecksumRequest { start: 34, offset };
            if partial {
                header[0] = 1;
                header[6..8].copy_from_slice(&request.start.to_le_bytes());
                header[8..10].copy_from_slice(&request.offset.to_le_bytes());
            } else {
                complete(frame, request);
            }
            unit
        };
        Self {
            units: (0..TRAIN).map(unit).collect(),
        }
    }

    fn first(&self) -> &[u8] {
        &self.units[0]
    }

    /// All of them as one.
    fn whole(&self) -> Vec<u8> {
        let mut train = Train::new();
        let mut whole = self.first().to_vec();
        train.open(&whole, ALL);
        for unit in &self.units[1..] {
            if let Some(payload) = train.join(unit) {
                whole.extend(&unit[payload]);
            }
        }
        train.close(&mut whole);
        whole
    }
}

/// One operation, done as often as asked.
type Operation = fn(&str, usize, u32) -> Result<()>;

const OPERATIONS: [(&str, Operation); 13] = [
    ("sum", sum),
    ("complete_parts", parts),
    ("open_refused.arp", |_, length, rounds| {
        let mut unit = Flow::new(17, false, length).units.swap_remove(0);
        unit[HEADER_LEN + 13] = 6;
        open(&unit, rounds)
    }),
    ("open_refused.udp_zero", |_, length, rounds| {
        let mut unit = Flow::new(17, false, length).units.swap_remove(0);
        unit[HEADER_LEN + 40..HEADER_LEN + 42].fill(0);
        open(&unit, rounds)
    }),
    ("open.udp", |_, length, rounds| {
        open(Flow::new(17, false, length).first(), rounds)
    }),
    ("open.tcp", |_, length, rounds| {
        open(Flow::new(6, false, length).first(), rounds)
    }),
    ("open.tcp_partial", |_, length, rounds| {
        open(Flow::new(6, true, length).first(), rounds)
    }),
    ("join_refused.closed", |_, length, rounds| {
        refused(false, length, rounds)
    }),
    ("join_refused.other_flow", |_, length, rounds| {
        refused(true, length, rounds)
    }),
    ("train.udp", |_, length, rounds| {
        joined(17, false, length, rounds)
    }),
    ("train.tcp", |_, length, rounds| {
        joined(6, false, length, rounds)
    }),
    ("train.tcp_partial", |_, length, rounds| {
        joined(6, true, length, rounds)
    }),
    ("segment.tcp", cut),
];

fn sum(_: &str, length: usize, rounds: u32) -> Result<()> {
    let bytes = vec![0x5a; length];
    for _ in 0..rounds {
        black_box(Sum::new().bytes(black_box(&bytes)));
    }
    Ok(())
}

fn parts(_: &str, length: usize, rounds: u32) -> Result<()> {
    let mut bytes = vec![0x5a; length];
    let (head, rest) = bytes.split_at_mut(54);
    let request = ChecksumRequest {
        start: 34,
        offset: 16,
    };
    for _ in 0..rounds {
        black_box(complete_parts(
            black_box(head),
            black_box(&[&*rest]),
            request,
        ));
    }
    Ok(())
}

fn open(unit: &[u8], rounds: u32) -> Result<()> {
    let mut train = Train::new();
    for _ in 0..rounds {
        black_box(&mut train).open(black_box(unit), ALL);
    }
    Ok(())
}

fn refused(opened: bool, length: usize, rounds: u32) -> Result<()> {
    let flow = Flow::new(17, false, length);
    let mut train = Train::new();
    if opened {
        train.open(flow.first(), ALL);
    }
    let mut other = flow.units[1].clone();
    other[HEADER_LEN + 34] ^= 1;
    for _ in 0..rounds {
        if black_box(&mut train).join(black_box(&other)).is_some() {
            return Err("another flow's frame has joined".into());
        }
    }
    Ok(())
}

/// Per frame of a train, opening and closing included; the payload is not moved.
fn joined(protocol: u8, partial: bool, length: usize, rounds: u32) -> Result<()> {
    let flow = Flow::new(protocol, partial, length);
    let mut first = flow.first().to_vec();
    let mut train = Train::new();
    for _ in 0..rounds / u32::from(TRAIN) {
        first.copy_from_slice(flow.first());
        train.open(&first, ALL);
        for unit in &flow.units[1..] {
            black_box(&mut train)
                .join(black_box(unit))
                .ok_or("a frame has not joined")?;
        }
        train.close(&mut first);
    }
    Ok(())
}

/// Per segment with its checksum, of a super-frame in pages.
fn cut(_: &str, length: usize, rounds: u32) -> Result<()> {
    let whole = Flow::new(6, true, length).whole();
    let (header, frame) = whole.split_first_chunk().ok_or("no header")?;
    let head = &frame[..frame.len().min(512)];
    let facts = inspect_from_host(header, head, u32::try_from(frame.len())?)?;
    let pages: Vec<&[u8]> = frame.chunks(4096).collect();
    let mut part = Part::new();
    for _ in 0..rounds / facts.segments {
        for index in 0..facts.segments {
            black_box(segment(
                &facts,
                head,
                black_box(&pages),
                index,
                true,
                &mut part,
            )?);
        }
    }
    Ok(())
}

/// Instructions of this program doing it that often.
fn count(name: &str, length: usize, rounds: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([name, &length.to_string(), &rounds.to_string()])
        .output()?;
    let text = String::from_utf8(output.stderr)?;
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    match line {
        Some((_, count)) if output.status.success() => Ok(count.trim().parse()?),
        _ => Err(text.into()),
    }
}

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    if let [name, length, rounds] = &args[..] {
        let known = OPERATIONS.iter().find(|(known, _)| known == name);
        let (_, operation) = known.ok_or("no such operation")?;
        return operation(name, length.parse()?, rounds.parse()?);
    }
    for (name, _) in OPERATIONS {
        for length in LENGTHS {
            let [few, many] = ROUNDS.map(|rounds| count(name, length, rounds));
            let value = (many? - few?) / f64::from(ROUNDS[1] - ROUNDS[0]);
            println!("{name}.{length} {value:.1} instructions");
        }
    }
    Ok(())
}
