//! The link at work: flows put frames into leaves, the engine names them, the wire takes one at a time.

use std::collections::{BTreeMap, VecDeque};

use super::events::{Ack, Agenda, Event};
use super::flow::Flow;
use super::link::Wire;
use super::meter::{LeafMeter, SourceMeter};
use super::random::Random;
use super::scenario::{Scenario, ScenarioError, Source, Traffic};
use super::tcp::{Burst, Counters};
use crate::class::{ClassConfig, ClassId, LeafQueue, TreeConfig};
use crate::engine::{ClassSnapshot, Ecn, Engine, Frame, LeafKey, Offer};
use crate::time::Time;
use crate::wire::{FrameShape, Framing};

/// Frames that a sender's own machine queues for a leaf without a queue: a ring of 256, and the 1000 of
/// an ordinary queueing discipline before it.
const HELD: usize = 1256;

/// Frames of one TCP flow that wait in a leaf without a queue: the sender's kernel keeps more from
/// piling up below TCP (Linux's TCP small queues).
const SMALL_QUEUE: u32 = 2;

/// Frames that a flood has waiting where it always has some.
const FLOOD_HELD: u32 = 2;

/// How long a flood waits when all room is taken by others, in nanoseconds.
const FLOOD_RETRY: u64 = 1_000_000;

/// A frame that waits; its number is the engine's token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) flow: u32,
    pub(super) since: u64,
    /// What is left of it.
    pub(super) shape: FrameShape,
    /// For TCP: what is left of which burst.
    pub(super) burst: Burst,
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) id: ClassId,
    pub(super) key: LeafKey,
    pub(super) queue: LeafQueue,
    framing: Framing,
    /// What waits with the sender.
    pub(super) held: VecDeque<u64>,
    /// Floods, to be filled up when something has gone.
    pub(super) floods: Vec<u32>,
    pub(super) meter: LeafMeter,
}

/// The whole simulation.
#[derive(Debug)]
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) agenda: Agenda,
    pub(super) now: u64,
    end: u64,
    pub(super) bin: u64,
    random: Random,
    pub(super) leaves: Vec<Leaf>,
    pub(super) by_key: BTreeMap<LeafKey, usize>,
    pub(super) flows: Vec<Flow>,
    pub(super) sources: Vec<SourceMeter>,
    pub(super) packets: Vec<Packet>,
    unused: Vec<u64>,
    pub(super) wire: Wire,
    /// The engine's counters when counting began.
    pub(super) before: Vec<ClassSnapshot>,
    pub(super) events: u64,
}

impl World {
    /// Everything in place, and nothing sent. The scenario was checked.
    pub(super) fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        let engine = Engine::new(&scenario.tree)?;
        let leaf = |class: &ClassConfig| {
            let series = vec![0; scenario.bins as usize];
            Some(Leaf {
                id: class.id,
                key: engine.leaf(class.id)?,
                queue: class.queue,
                framing: framing(&scenario.tree, class),
                held: VecDeque::new(),
                floods: Vec::new(),
                meter: LeafMeter {
                    series,
                    ..LeafMeter::default()
                },
            })
        };
        let leaves: Vec<Leaf> = scenario.tree.classes.iter().filter_map(leaf).collect();
        let by_key = (0..).zip(&leaves).map(|(i, leaf)| (leaf.key, i)).collect();
        let mut world = Self {
            engine,
            agenda: Agenda::default(),
            now: 0,
            end: scenario.nanos,
            bin: scenario.nanos.div_ceil(u64::from(scenario.bins)),
            random: Random(scenario.seed),
            leaves,
            by_key,
            flows: Vec::new(),
            sources: vec![SourceMeter::default(); scenario.sources.len()],
            packets: Vec::new(),
            unused: Vec::new(),
            wire: Wire::new(scenario.link()?),
            before: Vec::new(),
            events: 0,
        };
        world.agenda.add(scenario.warm_up_nanos, Event::Measure);
        for (number, source) in scenario.sources.iter().enumerate() {
            world.add_flows(number, source);
        }
        Ok(world)
    }

    fn add_flows(&mut self, number: usize, source: &Source) {
        let leaf = self.leaves.iter().position(|leaf| leaf.id == source.class);
        for _ in 0..source.flows {
            // The check has found the leaf, and few enough flows to number.
            let (Some(leaf), Ok(flow)) = (leaf, u32::try_from(self.flows.len())) else {
                return;
            };
            let new = Flow::new(number, leaf, source, &mut self.random);
            self.agenda.add(new.due(), Event::Start(flow));
            self.flows.push(new);
        }
    }

    pub(super) const fn bin_nanos(&self) -> u64 {
        self.bin
    }

    /// Runs to the end.
    pub(super) fn run(&mut self) {
        while let Some((at, event)) = self.agenda.next(self.end) {
            self.now = at;
            self.events += 1;
            self.handle(event);
            self.send();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start(flow) | Event::Tick(flow)
                if self.flows[flow as usize].stop <= self.now => {}
            Event::Start(flow) => self.start(flow),
            Event::Tick(flow) => self.tick(flow),
            Event::Ack(ack) => self.acknowledge(ack),
            Event::Timeout(flow) => {
                if let Some(connection) = &mut self.flows[flow as usize].connection {
                    connection.timeout(self.now);
                }
                self.pump(flow);
            }
            Event::WireFree => {}
            Event::Poll => self.wire.polled(),
            Event::Measure => self.measure(),
        }
    }

    /// Forgets what was counted until now.
    fn measure(&mut self) {
        self.before = self.engine.snapshot();
        for leaf in &mut self.leaves {
            leaf.meter.reset();
        }
        for source in &mut self.sources {
            *source = SourceMeter::default();
        }
        for connection in self.flows.iter_mut().filter_map(|f| f.connection.as_mut()) {
            connection.counters = Counters::default();
        }
    }

    fn start(&mut self, number: u32) {
        let flow = &self.flows[number as usize];
        match flow.traffic {
            Traffic::Cbr(_) | Traffic::OnOff(_) => self.tick(number),
            Traffic::Tcp(_) => self.pump(number),
            Traffic::Flood(_) => {
                self.leaves[flow.leaf].floods.push(number);
                self.flood(number);
            }
        }
    }

    fn tick(&mut self, number: u32) {
        let flow = &mut self.flows[number as usize];
        if let Traffic::Flood(_) = flow.traffic {
            flow.retries = false;
            return self.flood(number);
        }
        flow.step(self.now, &mut self.random);
        let due = flow.due();
        self.agenda.add(due, Event::Tick(number));
        self.put(number, SINGLE);
    }

    /// Has as many frames of a flood wait as its leaf is meant to hold.
    pub(super) fn flood(&mut self, number: u32) {
        let flow = &self.flows[number as usize];
        let most = match self.leaves[flow.leaf].queue {
            LeafQueue::Hold => FLOOD_HELD,
            LeafQueue::Fifo { frames } => frames,
            LeafQueue::Flows(flows) => flows.frames,
        };
        if flow.stop <= self.now {
            return;
        }
        let mut before = flow.waiting;
        while before < most && self.put(number, SINGLE) {
            // Where all room is taken, a queue of flows takes a frame and drops another of this flow.
            let now = self.flows[number as usize].waiting;
            if now <= before {
                break;
            }
            before = now;
        }
        let flow = &mut self.flows[number as usize];
        if flow.waiting == 0 && !flow.retries {
            flow.retries = true;
            let at = self.now + FLOOD_RETRY;
            self.agenda.add(at, Event::Tick(number));
        }
    }

    /// Has a connection send what it may.
    pub(super) fn pump(&mut self, number: u32) {
        loop {
            let flow = &mut self.flows[number as usize];
            let held = self.leaves[flow.leaf].queue == LeafQueue::Hold;
            let Some(connection) = &mut flow.connection else {
                return;
            };
            if flow.stop <= self.now {
                return;
            }
            let full = held && flow.waiting >= SMALL_QUEUE;
            let burst = if full {
                None
            } else {
                connection.burst(self.now)
            };
            let Some(burst) = burst else {
                if let Some(at) = connection.timer() {
                    self.agenda.add(at, Event::Timeout(number));
                }
                return;
            };
            self.put(number, burst);
        }
    }

    fn acknowledge(&mut self, ack: Ack) {
        let flow = &mut self.flows[ack.flow as usize];
        let (Some(connection), Traffic::Tcp(tcp)) = (&mut flow.connection, flow.traffic) else {
            return;
        };
        let (rtt, new) = connection.acknowledge(ack, self.now);
        let source = &mut self.sources[flow.source];
        source.arrived += new * u64::from(tcp.mss);
        if let Some(rtt) = rtt {
            source.rtt.add(rtt, ack.count.into());
        }
        if new > 0 && connection.done() {
            source.finished = Some(self.now);
        }
        self.pump(ack.flow);
    }

    /// Puts a frame of a flow into its leaf. Returns whether the leaf took it.
    fn put(&mut self, number: u32, burst: Burst) -> bool {
        let flow = &mut self.flows[number as usize];
        let leaf = &mut self.leaves[flow.leaf];
        let shape = flow.shape(burst.count);
        let cost = leaf.framing.cost(shape);
        leaf.meter.offered.add(shape.len, cost);
        self.sources[flow.source].offered.add(shape.len, cost);
        flow.waiting += 1;
        let (hash, ecn) = (flow.hash, flow.ecn());
        let packet = Packet {
            flow: number,
            since: self.now,
            shape,
            burst,
        };
        let token = self.keep(packet);
        let now = Time::from_nanos(self.now);
        let leaf = &mut self.leaves[self.flows[number as usize].leaf];
        let taken = if leaf.queue == LeafQueue::Hold {
            let room = leaf.held.len() < HELD;
            if room {
                leaf.held.push_back(token);
                self.engine.backlogged(leaf.key, now);
            }
            room
        } else {
            let ecn = if ecn { Ecn::Ect0 } else { Ecn::NotEct };
            let frame = Frame::new(token, shape).flow(hash).ecn(ecn);
            self.engine.offer(leaf.key, frame, now) == Offer::Queued
        };
        if !taken {
            self.lose(token, shape);
        }
        self.collect_dropped();
        taken
    }

    fn keep(&mut self, packet: Packet) -> u64 {
        if let Some(token) = self.unused.pop() {
            self.packets[index(token)] = packet;
            return token;
        }
        self.packets.push(packet);
        self.packets.len() as u64 - 1
    }

    /// Takes back what leaves of flows have dropped: all that is left of each frame.
    pub(super) fn collect_dropped(&mut self) {
        while let Some(frame) = self.engine.dropped() {
            let left = self.packets[index(frame.token)].shape;
            self.lose(frame.token, left);
        }
    }

    /// Learns from the engine what is left of a frame: a leaf of flows may have dropped segments off its
    /// front and kept the rest.
    pub(super) fn catch_up(&mut self, frame: &Frame) {
        let known = self.packets[index(frame.token)].shape;
        let count = |shape| Framing::ETHERNET.cost(shape).segments;
        let gone = count(known).saturating_sub(count(frame.shape));
        if let Some((part, _)) = known.peel(gone) {
            self.lose(frame.token, part);
        }
    }

    /// A frame, or the first segments of it, will never arrive.
    fn lose(&mut self, token: u64, part: FrameShape) {
        let (packet, segments) = self.advance(token, part);
        let flow = &self.flows[packet.flow as usize];
        self.sources[flow.source].lost += u64::from(segments);
        self.leaves[flow.leaf].meter.lost += u64::from(segments);
    }

    /// Takes the first segments off a waiting frame, all of them maybe. Returns the frame as it was,
    /// and how many segments.
    pub(super) fn advance(&mut self, token: u64, part: FrameShape) -> (Packet, u32) {
        let packet = &mut self.packets[index(token)];
        let before = *packet;
        // The same for every framing.
        let segments = Framing::ETHERNET.cost(part).segments;
        if let Some(rest) = packet.shape.after(part) {
            packet.shape = rest;
            packet.burst.first += u64::from(segments);
            packet.burst.count -= segments;
        } else {
            self.unused.push(token);
            self.flows[before.flow as usize].waiting -= 1;
        }
        (before, segments)
    }
}

/// A frame that is no part of a connection.
const SINGLE: Burst = Burst {
    number: 0,
    first: 0,
    count: 1,
};

/// How a class is charged: as the nearest class says that says something.
fn framing(tree: &TreeConfig, class: &ClassConfig) -> Framing {
    let parent = |class: &&ClassConfig| {
        let id = class.parent?;
        tree.classes.iter().find(|class| class.id == id)
    };
    std::iter::successors(Some(class), parent)
        .find_map(|class| class.framing)
        .unwrap_or_default()
}

/// A number that fits, as everything here is counted in memory.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
