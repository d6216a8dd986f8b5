// The rows: how they are made, filled, and drawn as far as they can be seen.

/** An element with a class, and what is in it. */
function element(tag, name, ...children) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...children);
  return made;
}

/** Says something, unless it is said already: what did not change is not drawn, or read out, again. */
function say(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

const COLUMNS = [["rate", "Rate"], ["share", "Share"], ["limit", "Limit"], ["delay", "Delay"], ["drops", "Drops"]];
const DIRECTIONS = { from: ["\u2191", "from the guest"], to: ["\u2193", "to the guest"] };

/** A heading or row: its cells in both directions. */
function cells(make) {
  return SIDES.map((side) => {
    const arrow = element("span", "arrow", element("span", "", DIRECTIONS[side][0]));
    arrow.setAttribute("aria-hidden", "true");
    const dir = element("div", `dir ${side}`, arrow, ...COLUMNS.map(([name, title]) => make(side, name, title)));
    dir.setAttribute("role", "presentation");
    return dir;
  });
}

function drawHead() {
  const heading = (name, ...children) => {
    const cell = element("div", name, ...children);
    cell.setAttribute("role", "columnheader");
    return cell;
  };
  byId("head").firstElementChild.append(
    heading("name", "Guest"),
    heading("graph", "10 minutes"),
    ...cells((side, name, title) => {
      const cell = heading(name, element("span", "side", `${DIRECTIONS[side][0]} `), title);
      cell.title = `${title} ${DIRECTIONS[side][1]}${name === "delay" ? ": 99 of 100 frames waited no longer" : ""}`;
      return cell;
    }),
  );
}

/** A row without its values. */
function makeRow(row) {
  const twist = element("span", "twist");
  twist.setAttribute("aria-hidden", "true");
  const name = element("div", "name", twist, element("span", "text", row.entry.name));
  name.title = row.entry.name;
  name.setAttribute("role", "gridcell");
  const made = element("div", row.level === 1 ? "row guest" : "row class", name);
  made.setAttribute("role", "row");
  made.tabIndex = -1;
  made.dataset.key = row.entry.key;
  twist.style.marginLeft = `${row.level - 1}rem`;
  if (row.isNote) {
    made.classList.add("note");
    return made;
  }
  const graph = element("div", "graph", document.createElement("canvas"));
  graph.setAttribute("role", "gridcell");
  graph.firstChild.setAttribute("aria-hidden", "true");
  made.append(
    graph,
    ...cells((side, column) => {
      const cell = element("div", column, element("span", ""));
      cell.setAttribute("role", "gridcell");
      if (column === "rate") {
        cell.append(element("i", "none", document.createElement("b")));
      }
      return cell;
    }),
  );
  return made;
}

function badgesOf(guest) {
  const badges = [];
  if (!guest.port.session) {
    badges.push("not connected");
  }
  if (guest.port.paused) {
    badges.push("paused");
  }
  if (guest.port.broken_rings > 0) {
    badges.push("broken ring");
  }
  return badges;
}

function fillRow(made, row, index) {
  const { entry } = row;
  made.style.transform = `translateY(${index * rowHeight()}px)`;
  const isActive = entry.key === view.active;
  made.tabIndex = isActive ? 0 : -1;
  const attributes = {
    "aria-rowindex": index + 2,
    "aria-level": row.level,
    "aria-posinset": row.place + 1,
    "aria-setsize": row.siblings,
    "aria-selected": isActive,
  };
  if (row.level === 1) {
    attributes["aria-expanded"] = row.isUnfolded;
    say(made.querySelector(".twist"), row.isUnfolded ? "\u25be" : "\u25b8");
    fillBadges(made.querySelector(".name"), badgesOf(entry));
  }
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  if (row.isNote) {
    say(made.querySelector(".text"), entry.name);
    return;
  }
  for (const side of SIDES) {
    fillCells(made.querySelector(`.dir.${side}`), entry.flows[side], row.of[side]);
  }
}

function fillBadges(name, badges) {
  const shown = [...name.querySelectorAll(".badge")];
  if (shown.map((badge) => badge.textContent).join() !== badges.join()) {
    shown.forEach((badge) => badge.remove());
    name.append(...badges.map((badge) => element("span", "badge", badge)));
  }
}

function fillCells(dir, flow, of) {
  const texts = {
    rate: formatRate(flow.rate),
    share: formatShare(of > 0 ? flow.rate / of : NaN),
    limit: formatLimit(flow.limits.ceil),
    delay: formatDelay(flow.delay),
    drops: formatCount(flow.drops),
  };
  for (const [column, text] of Object.entries(texts)) {
    say(dir.querySelector(`.${column} > span`), text);
  }
  const use = flow.use();
  const bar = dir.querySelector(".rate i");
  bar.className = Number.isNaN(use) ? "none" : "";
  bar.firstChild.style.width = `${Math.min(1, use || 0) * 100}%`;
  dir.querySelector(".limit").classList.toggle("full", flow.isFull());
  dir.querySelector(".drops").classList.toggle("some", flow.drops > 0);
}

/** The height of a row in whole pixels, an even number of them: graphs are blurred at halves. */
function rowHeight() {
  const style = getComputedStyle(document.documentElement);
  return 2 * Math.round((parseFloat(style.getPropertyValue("--row")) * parseFloat(style.fontSize)) / 2);
}

/** Draws the rows that can be seen, and the one that the keyboard is on. */
function drawRows() {
  const grid = byId("grid");
  const height = rowHeight();
  byId("rows").style.height = `${view.rows.length * height}px`;
  byId("rows").style.setProperty("--height", `${height}px`);
  grid.setAttribute("aria-rowcount", view.rows.length + 1);
  const first = Math.floor(grid.scrollTop / height) - 2;
  const last = Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 2;
  const wanted = new Map();
  for (const [index, row] of view.rows.entries()) {
    if ((index >= first && index <= last) || row.entry.key === view.active) {
      wanted.set(row.entry.key, [row, index]);
    }
  }
  for (const [key, made] of view.drawn) {
    if (!wanted.has(key)) {
      made.remove();
      view.drawn.delete(key);
    }
  }
  for (const [key, [row, index]] of wanted) {
    let made = view.drawn.get(key);
    if (made === undefined) {
      made = makeRow(row);
      view.drawn.set(key, made);
      byId("rows").append(made);
    }
    fillRow(made, row, index);
    const canvas = made.querySelector("canvas");
    if (canvas !== null) {
      drawSmall(canvas, row.entry, second(), view.palette);
    }
  }
}
