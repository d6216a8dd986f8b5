// Which rows there are, in which order.

const isConnected = (guest) => guest.port.session;
const both = (guest) => [guest.flows.from, guest.flows.to];

const SHOWN = {
  all: () => true,
  connected: isConnected,
  full: (guest) => both(guest).some((flow) => flow.isFull()),
  lossy: (guest) => both(guest).some((flow) => flow.drops > 0),
};

/** What the greatest is first of. */
const ORDERS = {
  rate: (guest) => guest.total(),
  from: (guest) => guest.flows.from.rate || 0,
  to: (guest) => guest.flows.to.rate || 0,
  delay: (guest) => Math.max(...both(guest).map((flow) => flow.delay || 0)),
  drops: (guest) => both(guest).reduce((sum, flow) => sum + (flow.drops || 0), 0),
};

const NAMES = new Intl.Collator(undefined, { numeric: true });

/** The guests that are to be seen, in their order. */
function chosen(model, { filter, show, sort }) {
  const wanted = filter.trim().toLowerCase();
  const matches = (guest) => {
    const texts = [guest.name, guest.port.mac ?? "", guest.port.uplink];
    return texts.some((text) => text.toLowerCase().includes(wanted));
  };
  const guests = [...model.guests.values()].filter((guest) => SHOWN[show](guest) && matches(guest));
  const order = ORDERS[sort];
  // Numbers that are read once each; names decide between equals.
  const keyed = guests.map((guest) => [order ? order(guest) : 0, guest]);
  keyed.sort(([a, one], [b, other]) => b - a || NAMES.compare(one.name, other.name));
  return keyed.map(([, guest]) => guest);
}

/** All rows: guests, and below each that is unfolded its classes. */
function rowsOf(guests, unfolded, shares) {
  const rows = [];
  for (const [place, guest] of guests.entries()) {
    const isUnfolded = unfolded.has(guest.key);
    const of = shares(guest.port.uplink);
    rows.push({ entry: guest, guest, level: 1, place, siblings: guests.length, isUnfolded, of });
    if (isUnfolded) {
      rows.push(...classRows(guest));
    }
  }
  return rows;
}

/** The rows below a guest: its classes as a tree, or why there are none. */
function classRows(guest) {
  const note = (text) => [{ entry: { key: `${guest.key}//`, name: text }, guest, level: 2, place: 0, siblings: 1, isNote: true }];
  if (guest.classes === null) {
    return note("asking for its classes\u2026");
  }
  if (guest.classes.size === 0) {
    return note("no classes below the guest's own");
  }
  const children = new Map();
  for (const entry of guest.classes.values()) {
    children.set(entry.parent, [...(children.get(entry.parent) ?? []), entry]);
  }
  const of = { from: guest.flows.from.rate, to: guest.flows.to.rate };
  const rows = [];
  const add = (parent, level) => {
    const entries = children.get(parent) ?? [];
    // Each is added once, whatever the parents say.
    children.delete(parent);
    for (const [place, entry] of entries.entries()) {
      rows.push({ entry, guest, level, place, siblings: entries.length, of });
      add(entry.name, level + 1);
    }
  };
  add(null, 2);
  return rows;
}
