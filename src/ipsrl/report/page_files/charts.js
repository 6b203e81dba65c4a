"use strict";
// Charts, by Plotly. Names are data: what Plotly would read as markup is written as entities.

// Searched for: of all colours that are seen on their paper, those whose nearest two lie furthest
// apart for any kind of colour vision; a test measures it.
const LINES = {
  light: ["#0066aa", "#ee2266", "#aa8800", "#000066", "#882200", "#440022"],
  dark: ["#44aaee", "#eeee66", "#ee4466", "#aaeeaa", "#eeaacc", "#668800"],
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const OUTCOMES = {
  light: ["#8800ee", "#ee0066", "#aa8800", "#6688cc", "#222200", "#660044",
    "#8866ee", "#884488", "#226644", "#aa2200", "#4422aa", "#440066"],
  dark: ["#4488ee", "#aa4400", "#eeee22", "#66eeee", "#ee8866", "#8822ee",
    "#aaaaee", "#aa22aa", "#ccaa00", "#cc0044", "#cceeaa", "#88ccaa"],
};
const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = [];
const library = new Promise((ready) => addEventListener("load", ready)); // its script is the last one

/** Text for Plotly, which reads a few tags. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const brief = (text, length = 60) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

// --- a colour for good ----------------------------------------------------------------------------

/** The colour of an outcome, the same in every figure; undefined for one of the others. */
const outcomeColour = (name) => (dark.matches ? OUTCOMES.dark : OUTCOMES.light)[page.colours[name]];

/** Paints now, and again when the colours change. */
function painted(paint) {
  paint();
  dark.addEventListener("change", paint);
}

// --- a chart with its numbers ---------------------------------------------------------------------

function ink() {
  const style = getComputedStyle(document.documentElement);
  return { ink: style.getPropertyValue("--ink").trim(), line: style.getPropertyValue("--line").trim(), paper: style.getPropertyValue("--paper").trim() };
}

function layout(x, y, log = "", more = {}) {
  const colour = ink();
  const axis = (title, type) => ({ title: { text: plain(title), standoff: 8 }, type, gridcolor: colour.line, zeroline: false,
    linecolor: colour.line, automargin: true, exponentformat: "e", minexponent: 6, separatethousands: true, nticks: 7 });
  return { margin: { l: 8, r: 12, t: 10, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { color: colour.ink, size: 12, family: "system-ui, DejaVu Sans, sans-serif" }, hovermode: "closest",
    hoverlabel: { bgcolor: colour.paper, font: { color: colour.ink }, namelength: -1 },
    xaxis: axis(x, log.includes("x") ? "log" : "linear"), yaxis: axis(y, log.includes("y") ? "log" : "linear"), ...more };
}

/** A figure that is drawn when it comes near the window, and again when the colours change. */
function plot(title, { note = "", broad = false, traces, arranged, legend = [], numbers = null }) {
  const box = make("div", { class: "plot", role: "img", "aria-label": `Chart: ${title}` });
  const render = () => Plotly.newPlot(box, traces(), arranged(), { displayModeBar: false, responsive: true });
  const keys = make("ul", { class: "legend" });
  const entries = () => keys.replaceChildren(...legend().map((entry) => {
    if (!entry.traces) return make("li", {}, entry.swatch, entry.name);
    const button = make("button", { "aria-pressed": "true", onclick: () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      Plotly.restyle(box, { visible: on }, entry.traces);
    } }, entry.swatch, entry.name);
    return make("li", {}, button);
  }));
  if (legend.length || typeof legend === "function") entries(); else legend = () => [];
  new IntersectionObserver((seen, observer) => {
    if (seen.some((one) => one.isIntersecting)) {
      observer.disconnect();
      library.then(render);
      drawn.push(() => { render(); entries(); });
    }
  }, { rootMargin: "300px" }).observe(box);
  const below = numbers ? later(make("details", {}, make("summary", {}, "Numbers")), () => [table({ ...numbers(), title: "", label: `Numbers of ${title}` })]) : null;
  return make("figure", { class: broad ? "broad" : null }, make("figcaption", {}, title), note ? make("p", { class: "note" }, note) : null, box, keys, below);
}

dark.addEventListener("change", () => drawn.forEach((again) => again()));

function swatch(colour, dash = null) {
  if (dash === null) return make("span", { class: "swatch", style: `background: ${colour}` });
  const widths = { solid: "", dash: "5 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "9 3" };
  return make("span", { class: "swatch" }, draw("svg", { viewBox: "0 0 21 12", width: 21, height: 12, "aria-hidden": "true" },
    draw("path", { d: "M0 6H21", stroke: colour, "stroke-width": 2.5, "stroke-dasharray": widths[dash] })));
}

// --- lines ----------------------------------------------------------------------------------------

const runs = [...new Set(page.charts.flatMap((one) => one.lines.map((line) => line.run)))].filter(Boolean);

function lineStyle(place, part = 0) {
  const palette = dark.matches ? LINES.dark : LINES.light;
  return [palette[place % palette.length], DASHES[(Math.floor(place / palette.length) + part) % DASHES.length]];
}

const hidden = new Set(); // runs that nobody wants to see now

/** The runs with their lines; each can be hidden in all charts. */
function together() {
  const keys = make("ul", { class: "legend all" });
  const seeds = (run) => Math.max(...page.charts.flatMap((one) => one.lines.filter((line) => line.run === run).map((line) => line.seeds)));
  const fill = () => keys.replaceChildren(...runs.map((run, i) => make("li", {}, make("button", { "aria-pressed": String(!hidden.has(run)), onclick: (event) => {
    if (!hidden.delete(run)) hidden.add(run);
    event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(run)));
    drawn.forEach((again) => again());
  } }, swatch(...lineStyle(i)), seeds(run) > 1 ? `${run} (${seeds(run)} seeds)` : run))));
  fill();
  dark.addEventListener("change", fill);
  return keys;
}

/** The same run has the same colour in every chart; what it is compared with is grey. */
function styleOf(line, i, names) {
  const part = names.indexOf(line.name);
  if (!line.run) return ["#8a8a8a", DASHES[1 + (part % 4)]];
  return runs.length === 1 ? lineStyle(i) : lineStyle(runs.indexOf(line.run), part);
}

function chart(one) {
  const names = [...new Set(one.lines.map((line) => line.name))];
  const label = (line) => [runs.length > 1 ? line.run : "", line.name].filter(Boolean).join(", ") || "this run";
  const traces = () => one.lines.flatMap((line, i) => {
    const [colour, dash] = styleOf(line, i, names);
    const visible = !hidden.has(line.run);
    const main = { visible, x: line.xs, y: line.ys, name: plain(label(line)), type: "scatter", line: { color: colour, dash, width: 2 },
      mode: line.xs.length < 30 ? "lines+markers" : "lines", marker: { size: 5 }, hovertemplate: "%{x}: %{y:.4~g}<extra>%{fullData.name}</extra>" };
    const edge = { visible, x: line.xs, type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    const band = line.low.length ? [{ ...edge, y: line.low }, { ...edge, y: line.high, fill: "tonexty", fillcolor: `${colour}30` }] : [];
    return [...band, main];
  });
  let next = 0;
  const indices = one.lines.map((line) => Array.from({ length: line.low.length ? 3 : 1 }, () => next++));
  const legend = () => {
    if (runs.length > 1) { // the runs have a legend together
      const kinds = names.length > 1 ? names.map((name) => one.lines.findIndex((line) => line.name === name)) : [];
      return kinds.map((i) => ({ name: one.lines[i].name || "the run", swatch: swatch(ink().ink, styleOf({ ...one.lines[i], run: one.lines[i].run && runs[0] }, i, names)[1]) }));
    }
    return one.lines.length === 1 ? [] : one.lines.map((line, i) => ({ name: label(line), swatch: swatch(...styleOf(line, i, names)), traces: indices[i] }));
  };
  const numbers = () => ({ columns: [one.x, ...one.lines.map(label)], rows: merged(one.lines) });
  const seeds = Math.max(...one.lines.map((line) => line.seeds));
  const arranged = () => {
    const whole = layout(one.x, one.y, one.log);
    const negative = one.lines.some((line) => [...line.ys, ...line.low].some((y) => y < 0));
    if (!negative) whole.yaxis.rangemode = "nonnegative";
    const ys = one.lines.flatMap((line) => [...line.ys, ...line.low, ...line.high]).filter((y) => y !== null);
    if (ys.every(Number.isInteger) && Math.max(...ys) - Math.min(...ys) < 8) whole.yaxis.dtick = 1; // a count
    if (one.log.includes("x")) Object.assign(whole.xaxis, marks(one.lines.flatMap((line) => line.xs)));
    return whole;
  };
  return plot(one.title, { traces, legend, numbers, arranged, note: seeds > 1 && runs.length === 1 ? `${seeds} seeds` : "" });
}

/** Marks of an axis at values that there are: those of Plotly run into one another, or lie between bars. */
function marks(values) {
  const some = [...new Set(values)].sort((a, b) => a - b);
  const tickvals = some.filter((_, i) => i % Math.ceil(some.length / 7) === 0);
  return { tickvals, ticktext: tickvals.map(show) };
}

/** Rows of x and a value for each line. */
function merged(lines) {
  const rows = new Map();
  lines.forEach((line, i) => line.xs.forEach((x, t) => {
    if (!rows.has(x)) rows.set(x, [x, ...lines.map(() => null)]);
    rows.get(x)[i + 1] = line.low.length && line.ys[t] !== null ? { median: line.ys[t], low: line.low[t], high: line.high[t] } : line.ys[t];
  }));
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

// --- stacks, bars, planes, arrows -----------------------------------------------------------------

function frequencies(part) {
  const totals = part.starts.map((_, w) => part.rest_W[w] + part.none_W[w] + part.counts_KW.reduce((sum, row) => sum + row[w], 0));
  const layers = () => [...part.names.map((name, k) => [name, part.counts_KW[k], outcomeColour(name)]),
    ...(part.rest ? [[`others (${show(part.rest)})`, part.rest_W, "#8c8c8c"]] : []),
    ...(part.none_W.some(Boolean) ? [["no outcome", part.none_W, "none"]] : [])];
  if (part.starts.length === 1) {
    return bars({ title: part.title, note: `${part.note} ${show(totals[0])} samples.`, names: layers().map(([name]) => name), values: layers().map(([, counts]) => counts[0]), colours: () => layers().map(([, , colour]) => (colour === "none" ? "#c4c4c4" : colour)) });
  }
  const [at, widths] = places(part.starts, part.ends);
  const windows = part.starts.map((start, w) => `${part.x} ${show(start)}${part.ends[w] > start ? ` to ${show(part.ends[w])}` : ""}`);
  const arranged = () => {
    const whole = layout(part.x, "share of the samples", "", { barmode: "stack", bargap: 0 });
    Object.assign(whole.yaxis, { range: [0, 1], tickformat: ".0%" });
    if (part.starts.length < 12) Object.assign(whole.xaxis, marks(part.starts)); // else those of a line
    return whole;
  };
  const trace = ([name, counts, colour]) => ({
    type: "bar", x: at, width: widths, y: counts.map((count, w) => count / Math.max(totals[w], 1)), name: plain(brief(name)), text: counts.map((count, w) => `${show(count)} of ${show(totals[w])}, ${windows[w]}`), textposition: "none",
    marker: colour === "none" ? { color: "rgba(128,128,128,.12)", line: { width: 0 }, pattern: { shape: "/", size: 6, fgcolor: "#999999" } } : { color: colour, line: { width: 0.5, color: ink().paper } },
    hovertemplate: "%{fullData.name}: %{y:.1%} (%{text})<extra></extra>",
  });
  const legend = () => layers().map(([name, , colour], i) => ({ name: brief(name), swatch: swatch(colour === "none" ? "repeating-linear-gradient(135deg, #999999 0 1px, transparent 1px 4px)" : colour), traces: [i] }));
  const numbers = () => ({
    columns: ["outcome", ...windows],
    rows: layers().map(([name, counts]) => [name, ...counts]),
  });
  return plot(part.title, { broad: true, note: part.note, traces: () => layers().map(trace), legend, numbers, arranged });
}

/** Middles and widths of bars that stand over their windows and meet half-way between them. */
function places(starts, ends) {
  const gaps = starts.slice(1).map((start, w) => start - ends[w]);
  const left = starts.map((start, w) => start - (gaps[w - 1] ?? gaps[0]) / 2);
  const right = ends.map((end, w) => end + (gaps[w] ?? gaps.at(-1)) / 2);
  return [left.map((from, w) => (from + right[w]) / 2), left.map((from, w) => right[w] - from)];
}

function bars(part) {
  const [names, values] = [part.names, part.values].map((list) => [...list].reverse());
  const colour = () => part.colours?.().reverse() ?? lineStyle(0)[0];
  const traces = () => [{ type: "bar", orientation: "h", y: names.map((_, i) => i), x: values, text: values.map(show), marker: { color: colour() }, hoverinfo: "skip", textposition: "auto" }];
  const arranged = () => layout("", "", "", { yaxis: { tickvals: names.map((_, i) => i), ticktext: names.map((name) => plain(brief(name, 44))), automargin: true }, height: 70 + 28 * names.length });
  const figure = plot(part.title, { note: part.note, traces, arranged, numbers: () => ({ columns: ["name", "number"], rows: part.names.map((name, i) => [name, part.values[i]]) }) });
  figure.querySelector(".plot").style.height = `${70 + 28 * names.length}px`;
  figure.classList.add("slim");
  return figure;
}

/** From dark to light, as viridis. */
const SHADES = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function shade(value) {
  const place = Math.min(Math.max(value, 0), 1) * (SHADES.length - 1);
  const low = Math.min(Math.floor(place), SHADES.length - 2);
  return SHADES[low].map((from, i) => Math.round(from + (place - low) * (SHADES[low + 1][i] - from)));
}

function planes(part) {
  const figures = part.planes.map((rows, i) => {
    const canvas = make("canvas", { width: rows[0].length, height: rows.length, role: "img", "aria-label": `${part.title}: ${part.names[i]}` });
    const pixels = new ImageData(rows[0].length, rows.length);
    rows.forEach((row, y) => row.forEach((value, x) => {
      pixels.data.set([...shade((value ?? 0) / part.top), 255], 4 * ((rows.length - 1 - y) * row.length + x));
    }));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return make("figure", {}, canvas, make("figcaption", {}, part.names[i]));
  });
  const ramp = SHADES.map((c) => `rgb(${c})`).join(", ");
  const scale = make("p", { class: "note" }, "0 ", make("span", { style: `display: inline-block; width: 8rem; height: .7rem; background: linear-gradient(90deg, ${ramp})` }), ` ${show(part.top)} and more`);
  const numbers = later(make("details", {}, make("summary", {}, "Numbers")), () => part.planes.map((rows, i) => table({ title: part.names[i], columns: ["y \\ x", ...rows[0].map((_, x) => String(x * part.block))], rows: rows.map((row, y) => [y * part.block, ...row]) }, "h4")));
  return make("section", {}, make("h3", {}, part.title), make("p", { class: "note" }, part.note), make("div", { class: "planes" }, figures), scale, numbers);
}

function arrows(part) {
  const side = 1 + Math.max(...part.cells.map(([x, y]) => x + y)) + 1;
  const [unit, edge] = [60, 40];
  const whole = edge + side * unit;
  const place = (x, y) => [edge + x * unit, whole - edge - y * unit];
  const svg = draw("svg", { viewBox: `0 0 ${whole + 60} ${whole}`, class: "arrows", role: "img", "aria-label": part.title });
  for (const [x, y, dx, dy, visits] of part.cells) {
    const [from, top] = place(x, y);
    const [to, bottom] = [from + dx * unit * 0.62, top - dy * unit * 0.62];
    const length = Math.hypot(to - from, bottom - top) || 1;
    const [ux, uy] = [(to - from) / length, (bottom - top) / length];
    const opacity = 0.15 + 0.85 * Math.sqrt(visits);
    svg.append(draw("path", { d: `M${from} ${top}L${to} ${bottom}M${to - 7 * ux - 4 * uy} ${bottom - 7 * uy + 4 * ux}L${to} ${bottom}L${to - 7 * ux + 4 * uy} ${bottom - 7 * uy - 4 * ux}`, fill: "none", stroke: "currentColor", "stroke-width": 2.4, opacity }));
  }
  for (const [name, outcome, x, y, p] of part.marks) {
    const [left, top] = place(x, y);
    const mark = draw("rect", { x: left - 7, y: top - 7, width: 14, height: 14 });
    painted(() => mark.setAttribute("fill", outcomeColour(outcome) ?? "#8c8c8c"));
    svg.append(mark, draw("text", { x: left + 12, y: top - 8, "font-size": 14, fill: "currentColor" }, `${name}: ${show(p)}`));
  }
  const numbers = later(make("details", {}, make("summary", {}, "Numbers")), () => [table({ title: "", columns: ["x", "y", "right", "up", "visits"], rows: part.cells })]);
  return make("section", {}, make("h3", {}, part.title), make("p", { class: "note" }, part.note), svg, numbers);
}
