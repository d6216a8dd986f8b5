// The page itself: what is drawn, what keys do, and the questions to the daemon.

const PERIOD = 1000;
const PATIENCE = 10000;
/** Guests whose classes are asked for at one time. */
const MOST_UNFOLDED = 16;

const byId = (id) => document.getElementById(id);
const view = {
  model: new Model(),
  unfolded: new Set(),
  rows: [],
  /** The key of the row that the keyboard is on. */
  active: null,
  drawn: new Map(),
  lastAnswer: null,
  failure: null,
  palette: null,
};
/** Seconds of a clock that only goes forward. */
const second = () => Math.floor((performance.timeOrigin + performance.now()) / 1000);

function draw() {
  view.palette = colours();
  const { model } = view;
  const settings = { filter: byId("filter").value, show: byId("show").value, sort: byId("sort").value };
  const guests = chosen(model, settings);
  const shares = (uplink) => ({ from: model.rateOf(uplink, "from"), to: model.rateOf(uplink, "to") });
  const memo = new Map(model.report?.uplinks.map((uplink) => [uplink.uplink, shares(uplink.uplink)]));
  view.rows = rowsOf(guests, view.unfolded, (uplink) => memo.get(uplink) ?? {});
  if (!view.rows.some((row) => row.entry.key === view.active)) {
    const hadFocus = byId("rows").contains(document.activeElement);
    view.active = view.rows[0]?.entry.key ?? null;
    drawRows();
    if (hadFocus) {
      view.drawn.get(view.active)?.focus({ preventScroll: true });
    }
  } else {
    drawRows();
  }
  drawState();
  drawEmpty(guests.length);
  drawDetail();
}

function drawState() {
  const { report, guests } = view.model;
  const alarm = byId("alarm");
  alarm.hidden = view.failure === null;
  byId("state").classList.toggle("live", view.failure === null && report !== null);
  if (view.failure !== null) {
    const since = view.lastAnswer === null ? "" : ` since ${formatTime(view.lastAnswer)}; what is shown is what it said then`;
    say(alarm, `No answer from the daemon${since}. ${view.failure}`);
    say(byId("state"), view.lastAnswer === null ? "" : `last answer ${formatSpan((Date.now() - view.lastAnswer) / 1000)} ago`);
  }
  if (report === null) {
    return;
  }
  const connected = [...guests.values()].filter(isConnected).length;
  if (view.failure === null) {
    say(byId("state"), `${guests.size} guests, ${connected} connected, up ${formatSpan(report.uptime_nanos / 1e9)}`);
  }
  const uplinks = report.uplinks.map((uplink) => {
    const rates = SIDES.map((side) => `${DIRECTIONS[side][0]} ${formatRate(view.model.rateOf(uplink.uplink, side))}`);
    const gone = uplink.present || uplink.kind === "none" ? "" : " (its interface is gone)";
    return `${uplink.uplink}${gone}: ${rates.join("  ")}`;
  });
  const list = byId("uplinks");
  while (list.children.length > uplinks.length) {
    list.lastChild.remove();
  }
  uplinks.forEach((text, place) => {
    const item = list.children[place] ?? list.appendChild(document.createElement("li"));
    say(item, text);
  });
}

function drawEmpty(shown) {
  const empty = byId("empty");
  const { report, guests } = view.model;
  empty.hidden = shown > 0 || report === null;
  byId("grid").hidden = shown === 0;
  byId("detail").hidden = shown === 0 || byId("graphs").getAttribute("aria-expanded") !== "true";
  say(byId("count"), report === null || shown === guests.size ? "" : `${shown} of ${guests.size} guests`);
  const kind = guests.size === 0 ? "none" : "filtered";
  if (empty.hidden || empty.dataset.kind === kind) {
    return;
  }
  empty.dataset.kind = kind;
  if (kind === "none") {
    const how = element("p", "", "They come from the daemon\u2019s file, as ", element("code", "", "[guest.NAME]"), ", and show here as soon as it is reloaded.");
    empty.replaceChildren(element("p", "", element("strong", "", "No guests are configured.")), how);
  } else {
    const all = element("button", "", "Show all guests");
    all.type = "button";
    all.addEventListener("click", () => {
      byId("filter").value = "";
      byId("show").value = "all";
      draw();
      byId("filter").focus();
    });
    empty.replaceChildren(element("p", "", element("strong", "", "No guest is like that.")), all);
  }
}

function drawDetail() {
  const row = view.rows.find((row) => row.entry.key === view.active);
  if (row === undefined || row.isNote || byId("detail").hidden) {
    return;
  }
  const whose = row.level === 1 ? row.entry.name : `${row.guest.name} \u203a ${row.entry.name}`;
  const mac = row.level === 1 && row.guest.port.mac ? ` \u00b7 ${row.guest.port.mac}` : "";
  say(byId("whose"), `${whose}${mac} \u00b7 uplink ${row.guest.port.uplink}`);
  const draws = [["rates", "rate", formatRate], ["delays", "delay", formatDelayOf], ["drops", "drops", formatCount]];
  for (const [id, kind, format] of draws) {
    drawLarge(byId(id), row.entry, kind, format, second(), view.palette);
  }
}

/** A delay out of a series, where what is above all bounds is a number. */
function formatDelayOf(nanos) {
  return formatDelay(nanos > BOUNDS[BOUNDS.length - 1] ? Infinity : nanos);
}

// What people do.

function activate(key, focus) {
  view.active = key;
  const index = view.rows.findIndex((row) => row.entry.key === key);
  const grid = byId("grid");
  const height = rowHeight();
  const room = grid.clientHeight - byId("head").offsetHeight;
  if (index * height < grid.scrollTop) {
    grid.scrollTop = index * height;
  } else if ((index + 1) * height > grid.scrollTop + room) {
    grid.scrollTop = (index + 1) * height - room;
  }
  drawRows();
  drawDetail();
  if (focus) {
    view.drawn.get(key)?.focus({ preventScroll: true });
  }
}

function unfold(guest, isUnfolded) {
  view.unfolded[isUnfolded ? "add" : "delete"](guest.key);
  draw();
}

function pressed(event) {
  const index = view.rows.findIndex((row) => row.entry.key === view.active);
  const row = view.rows[index];
  if (row === undefined || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  const page = Math.max(1, Math.floor(byId("grid").clientHeight / rowHeight()) - 2);
  const targets = {
    ArrowDown: index + 1,
    ArrowUp: index - 1,
    PageDown: index + page,
    PageUp: index - page,
    Home: 0,
    End: view.rows.length - 1,
  };
  const isGuest = row.level === 1;
  if (event.key in targets) {
    const target = Math.min(view.rows.length - 1, Math.max(0, targets[event.key]));
    activate(view.rows[target].entry.key, true);
  } else if (event.key === "ArrowRight" && isGuest) {
    row.isUnfolded ? activate(view.rows[index + 1].entry.key, true) : unfold(row.guest, true);
  } else if (event.key === "ArrowLeft" && isGuest) {
    unfold(row.guest, false);
  } else if (event.key === "ArrowLeft") {
    activate(row.guest.key, true);
  } else if ((event.key === "Enter" || event.key === " ") && isGuest) {
    unfold(row.guest, !row.isUnfolded);
  } else {
    return;
  }
  event.preventDefault();
}

function clicked(event) {
  const made = event.target.closest(".row");
  const row = view.rows.find((row) => row.entry.key === made?.dataset.key);
  if (row === undefined) {
    return;
  }
  activate(row.entry.key, true);
  if (row.level === 1 && event.target.closest(".twist")) {
    unfold(row.guest, !row.isUnfolded);
  }
}

// Questions to the daemon.

class Refused extends Error {}

async function ask(path) {
  const reply = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (reply.status === 404) {
    throw new Refused(await reply.text());
  }
  if (!reply.ok) {
    throw new Error(`It says: ${(await reply.text()).trim()}`);
  }
  return reply.json();
}

/** Asks for the classes of the guests that are unfolded, those that can be seen first. */
async function askForClasses() {
  const unfolded = view.rows.filter((row) => row.isUnfolded);
  const seen = (row) => (view.drawn.has(row.entry.key) ? 0 : 1);
  const names = unfolded.sort((a, b) => seen(a) - seen(b)).slice(0, MOST_UNFOLDED).map((row) => row.guest.name);
  if (names.length === 0) {
    return;
  }
  const query = new URLSearchParams(names.map((name) => ["classes", name]));
  try {
    view.model.takeClasses(await ask(`/api/report?${query}`), second());
  } catch (error) {
    // One of them has gone in between, and is not in the next report.
    if (!(error instanceof Refused)) {
      throw error;
    }
  }
}

async function poll() {
  const start = performance.now();
  try {
    view.model.take(await ask("/api/report"), second());
    await askForClasses();
    view.lastAnswer = new Date();
    view.failure = null;
  } catch (error) {
    view.failure = error.name === "TypeError" ? "It has ended, or the network is gone; this page goes on trying." : `${error.message}.`;
  }
  draw();
  setTimeout(poll, Math.max(100, PERIOD - (performance.now() - start)));
}

function begin() {
  drawHead();
  const isNarrow = matchMedia("(max-width: 48rem)").matches;
  byId("graphs").setAttribute("aria-expanded", String(!isNarrow));
  byId("graphs").addEventListener("click", ({ currentTarget }) => {
    currentTarget.setAttribute("aria-expanded", String(currentTarget.getAttribute("aria-expanded") !== "true"));
    draw();
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["filter", "show", "sort"]) {
    byId(id).addEventListener("input", () => {
      byId("grid").scrollTop = 0;
      draw();
    });
  }
  byId("grid").addEventListener("scroll", () => requestAnimationFrame(drawRows));
  byId("grid").addEventListener("keydown", pressed);
  byId("grid").addEventListener("click", clicked);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== byId("filter")) {
      event.preventDefault();
      byId("filter").focus();
    }
  });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  byId("grid").hidden = true;
  byId("detail").hidden = true;
  poll();
}

begin();
