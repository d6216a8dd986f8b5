// Graphs of the last ten minutes.

const SIDES = ["from", "to"];

/** Colours as the style has them now. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return { from: read("from"), to: read("to"), line: read("line"), faint: read("faint") };
}

/** Makes a canvas as fine as the screen; its context, in CSS pixels, and its size. */
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

/** One line; a second that is missing is bridged, a longer gap is not. */
function drawLine(context, series, second, { width, top, bottom, max, colour }) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  let missing = Infinity;
  for (let age = SLOTS - 1; age >= 0; age -= 1) {
    const value = series.at(second - age);
    if (Number.isNaN(value)) {
      missing += 1;
      continue;
    }
    const x = width * (1 - age / (SLOTS - 1));
    const y = bottom - (bottom - top) * Math.min(1, value / max);
    if (missing > 2) {
      context.moveTo(x - 1, y);
    }
    context.lineTo(x, y);
    missing = 0;
  }
  context.stroke();
}

/** The rates of a row, small. */
function drawSmall(canvas, entry, second, palette) {
  const { context, width, height } = prepare(canvas);
  const max = Math.max(1, ...SIDES.map((side) => entry.flows[side].history.rate.max()));
  for (const side of SIDES) {
    const series = entry.flows[side].history.rate;
    drawLine(context, series, second, { width, top: 2, bottom: height - 2, max, colour: palette[side] });
  }
}

/** One kind of value in both directions, with a scale. */
function drawLarge(canvas, entry, kind, format, second, palette) {
  const { context, width, height } = prepare(canvas);
  const greatest = SIDES.map((side) => entry.flows[side].history[kind].max());
  const max = Math.max(...greatest);
  const [top, bottom] = [16, height - 14];
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  context.fillStyle = palette.faint;
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.strokeRect(0.5, top - 0.5, width - 1, bottom - top + 1);
  context.textBaseline = "alphabetic";
  context.fillText(max > 0 ? format(max) : "", 0, top - 4);
  context.fillText("10 min ago", 0, height - 2);
  context.textAlign = "right";
  context.fillText("now", width, height - 2);
  for (const side of SIDES) {
    const series = entry.flows[side].history[kind];
    drawLine(context, series, second, { width, top, bottom, max: max || 1, colour: palette[side] });
  }
  const said = greatest.map((value) => (value > 0 ? format(value) : "none"));
  canvas.setAttribute("aria-label", `last ten minutes, at most: from the guest ${said[0]}, to the guest ${said[1]}`);
}
