// What the daemon said over the last ten minutes, and what follows from the differences.

/** Seconds that are remembered. */
const SLOTS = 600;

/** A value for each second, or NaN. */
class Series {
  constructor() {
    this.values = new Float32Array(SLOTS).fill(NaN);
    this.last = -1;
  }

  put(second, value) {
    const first = Math.max(this.last + 1, second - SLOTS + 1);
    for (let between = first; between < second; between += 1) {
      this.values[between % SLOTS] = NaN;
    }
    this.values[second % SLOTS] = value;
    this.last = second;
  }

  at(second) {
    return second > this.last || second <= this.last - SLOTS || second < 0 ? NaN : this.values[second % SLOTS];
  }

  /** The greatest of the last ten minutes; 0 if there is none. */
  max() {
    return this.values.reduce((max, value) => (value > max ? value : max), 0);
  }
}

/** The bound below which 99 of 100 waits were, in nanoseconds; NaN without waits, Infinity above all. */
function percentile99(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!(total > 0)) {
    return NaN;
  }
  let below = 0;
  for (const [bucket, bound] of BOUNDS.entries()) {
    below += counts[bucket];
    if (below >= Math.ceil(total * 0.99)) {
      return bound;
    }
  }
  return Infinity;
}

/** One direction of a guest or class: what it does now, and did. */
class Flow {
  constructor() {
    this.rate = NaN;
    this.delay = NaN;
    this.drops = NaN;
    this.limits = {};
    this.before = null;
    this.history = { rate: new Series(), delay: new Series(), drops: new Series() };
  }

  /** Takes counters that are so many seconds younger than those before. */
  take(counters, seconds, now) {
    const before = this.before;
    this.before = counters;
    this.limits = counters.limits;
    // Counters that have gone back are those of a guest that was made anew.
    if (before === null || !(seconds > 0) || counters.bytes < before.bytes || counters.lost < before.lost) {
      return;
    }
    this.rate = ((counters.bytes - before.bytes) * 8) / seconds;
    this.drops = (counters.lost - before.lost) / seconds;
    this.delay = percentile99(counters.waits.map((count, bucket) => count - before.waits[bucket]));
    this.history.rate.put(now, this.rate);
    this.history.drops.put(now, this.drops);
    this.history.delay.put(now, this.delay === Infinity ? 2 * BOUNDS[BOUNDS.length - 1] : this.delay);
  }

  /** How much of its limit it uses; NaN without a limit. */
  use() {
    return this.limits.ceil ? this.rate / this.limits.ceil : NaN;
  }

  isFull() {
    return this.use() >= 0.95;
  }
}

/** A guest, or a class of one. */
class Entry {
  constructor(key, name) {
    this.key = key;
    this.name = name;
    this.flows = { from: new Flow(), to: new Flow() };
  }

  total() {
    return (this.flows.from.rate || 0) + (this.flows.to.rate || 0);
  }
}

class Guest extends Entry {
  constructor(name) {
    super(name, name);
    this.port = null;
    /** Its classes by their place in the tree; null until they were asked for. */
    this.classes = null;
    this.classesTime = NaN;
  }

  /** Takes the classes of a report, each with its twin for frames between guests. */
  takeClasses(reports, time, now) {
    const seconds = (time - this.classesTime) / 1e9;
    this.classesTime = time;
    const known = this.classes ?? new Map();
    this.classes = new Map();
    const sums = new Map();
    for (const report of reports) {
      if (report.guest !== this.name || report.class === undefined) {
        continue;
      }
      const key = `${this.name}/${report.parent ?? ""}/${report.class}`;
      const side = report.direction === "from-guest" ? "from" : "to";
      const entry = this.classes.get(key) ?? known.get(key) ?? new Entry(key, report.class);
      entry.parent = report.parent ?? null;
      this.classes.set(key, entry);
      const sum = sums.get(entry) ?? {};
      sum[side] = added(sum[side], countersOfClass(report));
      sums.set(entry, sum);
    }
    for (const [entry, sum] of sums) {
      for (const side of Object.keys(sum)) {
        entry.flows[side].take(sum[side], seconds, now);
      }
    }
  }
}

function countersOfPort(report) {
  const lost = Object.values(report.drops).reduce((sum, count) => sum + count, 0);
  return { bytes: report.wire_bytes, lost, waits: report.sojourn.counts, limits: report.limits };
}

function countersOfClass(report) {
  const lost = report.dropped.frames + report.refused;
  return { bytes: report.sent.wire_bytes, lost, waits: report.sojourn.counts, limits: report.limits };
}

function added(one, other) {
  if (one === undefined) {
    return other;
  }
  const waits = one.waits.map((count, bucket) => count + other.waits[bucket]);
  return { bytes: one.bytes + other.bytes, lost: one.lost + other.lost, waits, limits: one.limits };
}

/** All that is known of a daemon. */
class Model {
  constructor() {
    this.report = null;
    this.guests = new Map();
  }

  /** Takes a report of all guests; `now` is a second of our own clock. */
  take(report, now) {
    const before = this.report;
    const isNewer = before !== null && report.uptime_nanos >= before.uptime_nanos;
    if (isNewer && report.time_nanos === before.time_nanos) {
      return;
    }
    const seconds = isNewer ? (report.time_nanos - before.time_nanos) / 1e9 : NaN;
    this.report = report;
    const known = this.guests;
    this.guests = new Map();
    for (const port of report.ports) {
      const guest = known.get(port.port) ?? new Guest(port.port);
      guest.port = port;
      guest.flows.from.take(countersOfPort(port.from_guest), seconds, now);
      guest.flows.to.take(countersOfPort(port.to_guest), seconds, now);
      this.guests.set(port.port, guest);
    }
  }

  takeClasses(report, now) {
    for (const port of report.ports) {
      this.guests.get(port.port)?.takeClasses(report.classes ?? [], report.time_nanos, now);
    }
  }

  /** The rate of all guests of an uplink, in one direction. */
  rateOf(uplink, side) {
    let sum = 0;
    for (const guest of this.guests.values()) {
      sum += guest.port.uplink === uplink ? guest.flows[side].rate || 0 : 0;
    }
    return sum;
  }
}
