//! What it costs to say where a frame belongs, headers read and rules matched.
//!
//! `cargo run --release --example classify_bench [RULES ...]` prints a line per number of rules:
//! `classify.<rules> VALUE ns`, and what of it is the reading: `classify.parse VALUE ns`. The rules ask
//! for two or three fields out of addresses, protocol, ports, code point, VLAN and length, in eleven
//! mixtures; the first five use every field, so that more rules do not mean more fields. The frames are
//! IPv4 and IPv6, TCP and UDP, some of them tagged, each made for a rule drawn at random; one in eight
//! is for none. Every value is the best of a hundred runs.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use qos::classify::{
    Classifier, ClassifierConfig, Dscp, Headers, Match, Prefix, ProgramConfig, Protocol, Range,
    Rule,
};
use qos::{ClassConfig, ClassId, Cost, Time, TreeConfig};

/// Different frames in turn: more than a branch predictor learns by heart.
const FRAMES: u32 = 4096;
/// How often all of them are classified in one run.
const ROUNDS: u32 = 20;
const RUNS: u32 = 100;
const COST: Cost = Cost {
    wire_bytes: 84,
    segments: 1,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut counts: Vec<u32> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    if counts.is_empty() {
        counts = vec![5, 100, 1000];
    }
    let benches = counts.iter().map(|&rules| Bench::new(rules));
    let mut benches = benches.collect::<Result<Vec<_>, _>>()?;
    let mut parse = f64::MAX;
    let mut both = vec![f64::MAX; benches.len()];
    // In turn, so that a busy moment of the machine does not fall on one number of rules alone.
    for _ in 0..RUNS {
        for (bench, best) in benches.iter_mut().zip(&mut both) {
            parse = parse.min(bench.run(|_, headers| headers.len));
            *best = best.min(bench.run(|classifier, headers| {
                let verdict = classifier.classify(headers, COST, Time::ZERO);
                let leaf = verdict.and_then(|verdict| verdict.leaf());
                leaf.map_or(0, |leaf| leaf.minor.into())
            }));
        }
    }
    println!("classify.parse {parse:.1} ns");
    for (rules, best) in counts.iter().zip(both) {
        println!("classify.{rules} {best:.1} ns");
    }
    Ok(())
}

/// A seeded source of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let high = u32::try_from(self.0 >> 32).unwrap_or(0);
        high % bound
    }

    fn octet(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    fn port(&mut self) -> u16 {
        u16::try_from(self.below(65_536)).unwrap_or(0)
    }
}

/// Everything that a frame and the rule it is made for have in common.
#[derive(Clone, Copy)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: (u16, u16),
    dscp: u8,
    vlan: Option<u16>,
    len: u16,
}

impl Flow {
    fn new(random: &mut Random, number: u32) -> Self {
        let mut address = |six: bool| {
            let [a, b, c] = [random.octet(), random.octet(), random.octet()];
            let v6 = [
                0x2001,
                0xdb8,
                u16::from_be_bytes([a, b]),
                c.into(),
                0,
                0,
                0,
                1,
            ];
            match six {
                true => IpAddr::V6(Ipv6Addr::from(v6)),
                false => IpAddr::V4(Ipv4Addr::new(10, a, b, c)),
            }
        };
        let six = number % 4 == 1;
        Self {
            source: address(six),
            destination: address(six),
            protocol: if random.below(3) == 0 { 17 } else { 6 },
            ports: (random.port(), random.port()),
            dscp: random.octet() >> 2,
            vlan: (matches!(number % 11, 0 | 3 | 7)).then(|| random.port() & 0x0fff),
            len: 100 + random.port() % 1400,
        }
    }

    /// One of eleven mixtures of what can be asked for.
    fn rule(&self, kind: u32) -> Result<Match, Box<dyn Error>> {
        let net = |address: IpAddr| match address {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Prefix::new(Ipv4Addr::new(a, b, c, 0).into(), 24)
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Prefix::new(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(), 64)
            }
        };
        let host = |address: IpAddr| Prefix::new(address, if address.is_ipv4() { 32 } else { 128 });
        let near = |port: u16| Range::new(port & !7, port | 7).ok_or("an empty range");
        let dscp = Dscp::new(self.dscp).ok_or("no code point")?;
        let base = Match::all().protocol(Protocol(self.protocol));
        let long = Range::new(u32::from(self.len & !63), 2000).ok_or("an empty range")?;
        let (from, to) = (self.source, self.destination);
        Ok(match (kind % 11, self.vlan) {
            (0, _) => base
                .destination(net(to)?)
                .destination_port(near(self.ports.1)?),
            (1, _) => base.source(net(from)?).destination(net(to)?),
            (2, _) => base.source(net(from)?).dscp(dscp),
            (3, Some(vlan)) => base.vlan(vlan).source_port(near(self.ports.0)?),
            (4, _) => base.destination(net(to)?).length(long),
            (5, _) => base.destination(host(to)?),
            (6, _) => base
                .source(host(from)?)
                .destination_port(Range::only(self.ports.1)),
            (7, Some(vlan)) => base.vlan(vlan).dscp(dscp),
            (8, _) => base.source(host(from)?).destination(host(to)?),
            (9, _) => base
                .source_port(near(self.ports.0)?)
                .destination_port(near(self.ports.1)?),
            _ => base.source_port(Range::only(self.ports.0)).dscp(dscp),
        })
    }

    /// The first bytes of a frame of this flow.
    fn head(&self) -> Vec<u8> {
        let mut head = vec![2; 12];
        if let Some(vlan) = self.vlan {
            head.extend([0x81, 0x00]);
            head.extend(vlan.to_be_bytes());
        }
        let transport: u16 = if self.protocol == 6 { 20 } else { 8 };
        let packet = self.len - 18;
        match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                head.extend([0x08, 0x00, 0x45, self.dscp << 2]);
                head.extend(packet.to_be_bytes());
                head.extend([0, 0, 0x40, 0, 64, self.protocol, 0, 0]);
                head.extend(from.octets().iter().chain(&to.octets()));
            }
            (from, to) => {
                head.extend([0x86, 0xdd, 0x60 | self.dscp >> 2, self.dscp << 6, 0, 0]);
                head.extend((packet - 40).to_be_bytes());
                head.extend([self.protocol, 64]);
                for address in [from, to] {
                    if let IpAddr::V6(address) = address {
                        head.extend(address.octets());
                    }
                }
            }
        }
        head.extend(self.ports.0.to_be_bytes());
        head.extend(self.ports.1.to_be_bytes());
        head.extend(
            [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]
                .iter()
                .take(transport.into()),
        );
        head.resize(128, 0);
        head
    }
}

struct Bench {
    classifier: Classifier,
    frames: Vec<(Vec<u8>, u32)>,
}

impl Bench {
    fn new(rules: u32) -> Result<Self, Box<dyn Error>> {
        let mut random = Random(7);
        let root = ClassId::new(1, 0);
        let leaves: Vec<_> = (1..=16).map(|minor| ClassId::new(1, minor)).collect();
        let mut classes = vec![ClassConfig::new(root)];
        classes.extend(
            leaves
                .iter()
                .map(|&leaf| ClassConfig::new(leaf).parent(root)),
        );
        let mut program = ProgramConfig::new(root).otherwise(ClassId::new(1, 1));
        let flows: Vec<_> = (0..rules).map(|at| Flow::new(&mut random, at)).collect();
        for ((kind, flow), &leaf) in (0..).zip(&flows).zip(leaves.iter().cycle()) {
            program = program.rule(Rule::new(flow.rule(kind)?).class(leaf));
        }
        let mut frames = Vec::new();
        for at in 0..FRAMES {
            let drawn = flows.get(usize::try_from(random.below(rules))?);
            let flow = match drawn {
                Some(flow) if random.below(8) != 0 => *flow,
                _ => Flow::new(&mut random, at),
            };
            frames.push((flow.head(), flow.len.into()));
        }
        Ok(Self {
            classifier: Classifier::new(
                &TreeConfig::new(classes),
                &ClassifierConfig::new(vec![program]),
            )?,
            frames,
        })
    }

    /// Nanoseconds per frame.
    fn run(&mut self, mut act: impl FnMut(&mut Classifier, &Headers) -> u32) -> f64 {
        let start = Instant::now();
        let mut sum = 0_u32;
        for _ in 0..ROUNDS {
            for (head, len) in &self.frames {
                let headers = Headers::parse(black_box(head), *len, 0);
                sum = sum.wrapping_add(act(&mut self.classifier, black_box(&headers)));
            }
        }
        black_box(sum);
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS) / f64::from(FRAMES)
    }
}
