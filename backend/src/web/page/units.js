// Numbers as people read them. Rates are bits a second, by thousands, as the configuration has them.

const NONE = "\u2013";

/** Three digits and a prefix: 1234567 is "1.23 M". */
function scaled(value) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let place = 0;
  // Rounded first, so that 999.9 k becomes 1.00 M and not 1000 k.
  while (place < prefixes.length - 1 && Number(value.toPrecision(3)) >= 1000) {
    value /= 1000;
    place += 1;
  }
  const whole = place === 0 && (value >= 100 || Number.isInteger(value));
  const text = whole ? value.toFixed(0) : value.toPrecision(3);
  return `${text}\u00a0${prefixes[place]}`;
}

function formatRate(bits) {
  return Number.isFinite(bits) ? `${scaled(Math.round(bits))}bit/s` : NONE;
}

/** A limit as it was written: no more digits than it has. */
function formatLimit(bits) {
  if (bits === undefined || bits === null) {
    return NONE;
  }
  const [number, unit] = scaled(bits).split("\u00a0");
  return `${Number(number)}\u00a0${unit}bit/s`;
}

/** A bound of nanoseconds; Infinity is above all bounds. */
function formatDelay(nanos) {
  if (nanos === Infinity) {
    return `>\u00a0${formatNanos(BOUNDS[BOUNDS.length - 1])}`;
  }
  return Number.isFinite(nanos) ? `\u2264\u00a0${formatNanos(nanos)}` : NONE;
}

function formatNanos(nanos) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["\u00b5s", 1e3]]) {
    if (nanos >= size) {
      return `${Number((nanos / size).toPrecision(3))}\u00a0${unit}`;
    }
  }
  return `${nanos}\u00a0ns`;
}

/** So many a second. */
function formatCount(count) {
  if (!Number.isFinite(count)) {
    return NONE;
  }
  if (count === 0) {
    return "0";
  }
  return count < 10 ? `${Number(count.toPrecision(2))}/s` : `${scaled(Math.round(count)).replace(/\u00a0$/, "")}/s`;
}

function formatShare(part) {
  if (!Number.isFinite(part)) {
    return NONE;
  }
  const percent = part * 100;
  return percent > 0 && percent < 1 ? "<1%" : `${Math.round(percent)}%`;
}

function formatTime(date) {
  const two = (number) => String(number).padStart(2, "0");
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

function formatSpan(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) {
    return "0\u00a0s";
  }
  const words = [];
  for (const [unit, size] of units.slice(first, first + 2)) {
    const number = Math.floor(seconds / size);
    seconds -= number * size;
    if (number > 0) {
      words.push(`${number}\u00a0${unit}`);
    }
  }
  return words.join(" ");
}
