"use strict";
// Draws the views of the runs. Data becomes text nodes and attributes, never markup.

const page = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// --- values as text -------------------------------------------------------------------------------

function show(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number") {
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }
  if (typeof value === "object" && "median" in value) {
    if (value.low === value.high) return show(value.median);
    return `${show(value.median)} [${show(value.low)}, ${show(value.high)}]`;
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const spaced = (name) => String(name).replaceAll("_", " ");

function sorted(values) {
  // Numbers by size, texts by letter, what is not known last.
  const key = (v) => (v !== null && typeof v === "object" && "median" in v ? v.median : v);
  return (a, b) => {
    [a, b] = [key(values(a)), key(values(b))];
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
}

// --- tables ---------------------------------------------------------------------------------------

const LONG = 140; // letters of a cell that are shown before it is opened
const ROWS = 100; // rows that are made before somebody asks for more

function cell(value, column) {
  if (column === "run") return make("td", { class: "text" }, String(value));
  if (column === "state") {
    const [state] = String(value).split(",");
    return make("td", { class: "text nowrap" }, make("span", { class: `state ${state}` }, show(value)));
  }
  if (typeof value !== "string") return make("td", { class: "nowrap" }, show(value));
  if (value.length <= LONG) return make("td", { class: "text" }, show(value));
  const start = `${value.replaceAll(/\s+/g, " ").slice(0, LONG)} …`;
  return make("td", { class: "text" }, make("details", { class: "text" }, make("summary", {}, start), value));
}

function table(part, level = "h3") {
  let rows = part.rows;
  let shown = ROWS;
  const body = make("tbody");
  const more = make("button", { class: "act", onclick: () => { shown += 5 * ROWS; fill(); } }, "Show more rows");
  const count = make("p", { class: "note", role: "status" });
  const isText = part.columns.map((_, i) => part.rows.some((row) => typeof row[i] === "string"));
  function fill() {
    const lines = rows.slice(0, shown).map((row) => make("tr", {}, row.map((v, i) => cell(v, part.columns[i]))));
    body.replaceChildren(...lines);
    more.hidden = rows.length <= shown;
    count.textContent = part.search ? `${rows.length} of ${part.rows.length} rows` : "";
  }
  const heads = part.columns.map((name, i) => {
    const head = make("th", { scope: "col", class: isText[i] ? "text" : null });
    head.append(make("button", { onclick: () => sort(i, head) }, spaced(name)));
    return head;
  });
  function sort(i, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows = [...rows].sort(sorted((row) => row[i]));
    if (down) rows.reverse();
    fill();
  }
  const search = part.search ? make("label", {}, "Search", make("input", {
    type: "search",
    oninput: (event) => {
      const words = event.target.value.toLowerCase();
      rows = part.rows.filter((row) => row.some((v) => String(v).toLowerCase().includes(words)));
      fill();
    },
  })) : null;
  fill();
  return make("section", {},
    part.title ? make(level, {}, part.title) : null,
    part.note ? make("p", { class: "note" }, part.note) : null,
    search ? make("div", { class: "controls" }, search) : null, part.search ? count : null,
    make("div", { class: part.search ? "wide tall" : "wide", tabindex: "0", role: "region", "aria-label": part.title || "table" },
      make("table", {}, make("thead", {}, make("tr", {}, heads)), body)),
    more);
}

// --- right answers --------------------------------------------------------------------------------

function tiles(part) {
  const section = make("section", {}, make("h3", {}, part.title), make("p", { class: "note" }, part.note));
  part.questions.forEach((question, i) => {
    const found = question.answers.filter(([, late]) => late > 0).length;
    const all = question.answers.length;
    const label = question.known ? `${found} of all ${all} right answers` : `${found} right answers`;
    const lost = question.known ? "" : all > found ? `, ${all - found} of earlier lost` : "";
    const line = question.prompt.replaceAll(/\s+/g, " ");
    const head = `${label}${lost}: ${line.length > LONG ? `${line.slice(0, LONG)} …` : line}`;
    const box = later(make("details", { open: i === 0 }, make("summary", {}, head)), () => [
      line.length > LONG ? make("details", {}, make("summary", {}, "The whole prompt"), make("p", { style: "white-space: pre-wrap" }, question.prompt)) : null,
      make("ul", { class: "tiles" }, question.answers.map((answer) => tile(answer, part.drawing, question))),
      question.wrong ? make("p", { class: "note" }, `${show(question.wrong)} completions are not right.`) : null,
    ]);
    section.append(box);
  });
  return section;
}

function tile([key, late, before], drawing, question) {
  const name = key === "" ? "(empty)" : key;
  const words = late ? `${show(late)}×` : before ? `not any more, ${show(before)}× before` : "never found";
  const picture = drawing === "graph" ? graph(key, question) : drawing === "voxels" ? voxels(key) : null;
  const item = make("li", { class: late ? null : "missing", title: name },
    picture, picture ? null : `${name} `, make("span", { class: "count" }, words));
  if (picture) picture.setAttribute("aria-label", name);
  if (late) item.style.setProperty("--tile", outcomeColour(key));
  return item;
}

/** A directed graph, such as "A->B,B->C", its nodes on a circle. */
function graph(key, question) {
  const edges = (text) => text.split(",").filter(Boolean).map((edge) => edge.split("->"));
  question.nodes ??= [...new Set(question.answers.flatMap(([text]) => edges(text).flat()))].sort();
  const place = (name) => {
    const angle = (2 * Math.PI * question.nodes.indexOf(name)) / question.nodes.length - Math.PI / 2;
    return [42 + 30 * Math.cos(angle), 40 + 30 * Math.sin(angle)];
  };
  const svg = draw("svg", { viewBox: "0 0 84 80", width: 84, height: 80, role: "img" });
  for (const [from, to] of edges(key)) {
    const [[x, y], [u, v]] = [place(from), place(to)];
    const length = Math.hypot(u - x, v - y);
    const [dx, dy] = [(u - x) / length, (v - y) / length];
    const [ax, ay, bx, by] = [x + 9 * dx, y + 9 * dy, u - 9 * dx, v - 9 * dy];
    const head = `M${bx} ${by}l${-5 * dx - 3 * dy} ${-5 * dy + 3 * dx}l${6 * dy} ${-6 * dx}z`;
    svg.append(draw("path", { d: `M${ax} ${ay}L${bx} ${by}`, stroke: "currentColor", "stroke-width": 1.3 }),
      draw("path", { d: head, fill: "currentColor" }));
  }
  for (const name of question.nodes) {
    const [x, y] = place(name);
    svg.append(draw("text", { x, y: y + 4, "text-anchor": "middle", "font-size": 11, fill: "currentColor" }, name));
  }
  return svg;
}

/** Blocks of layers from the bottom up, such as "110000000/100000000", seen from above the corner. */
function voxels(key) {
  const layers = key.split("/");
  const size = Math.round(Math.sqrt(layers[0].length)) || 1;
  const [w, h] = [9, 5];
  const height = 2 * h * size + 10 * layers.length + 6;
  const svg = draw("svg", { viewBox: `0 0 ${2 * w * size + 4} ${height}`, width: 2 * w * size + 4, height, role: "img" });
  const faces = [["#c9d8ea", [[0, 0], [w, h], [0, 2 * h], [-w, h]]], ["#6f93bd", [[-w, h], [0, 2 * h], [0, 2 * h + 10], [-w, h + 10]]],
    ["#3f6796", [[w, h], [0, 2 * h], [0, 2 * h + 10], [w, h + 10]]]];
  const place = (column, row, z) => [2 + w * size + (column - row) * w, (column + row) * h + 10 * (layers.length - 1 - z)];
  for (let cell = 0; cell < size * size; cell++) {
    const [x, y] = place(cell % size, Math.floor(cell / size), -1);
    svg.append(draw("path", { d: `M${x} ${y}l${w} ${h}l${-w} ${h}l${-w} ${-h}z`, fill: "none", stroke: "#999999", "stroke-width": 0.5 }));
  }
  layers.forEach((layer, z) => [...layer].forEach((block, cell) => {
    if (block !== "1") return;
    const [x, y] = place(cell % size, Math.floor(cell / size), z);
    for (const [fill, corners] of faces) {
      const points = corners.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ");
      svg.append(draw("polygon", { points, fill, stroke: "#22364f", "stroke-width": 0.6 }));
    }
  }));
  return svg;
}

// --- runs -----------------------------------------------------------------------------------------

/** Fills an element when it is opened for the first time. */
function later(details, fill) {
  const open = () => {
    if (details.open && fill) {
      details.append(...fill().filter(Boolean));
      fill = null;
    }
  };
  details.addEventListener("toggle", open);
  open();
  return details;
}

function numbers(summary) {
  const entries = Object.entries(summary).filter(([, value]) => value !== null);
  if (!entries.length) return null;
  return make("div", { class: "numbers" }, entries.map(([name, value]) => {
    const range = value !== null && typeof value === "object" && "median" in value && value.low !== value.high;
    return make("div", {}, make("span", { class: "name" }, spaced(name)),
      make("span", { class: "value" }, show(range ? value.median : value)),
      range ? make("span", { class: "range" }, `${show(value.low)} to ${show(value.high)}`) : null);
  }));
}

function pairs(values, marked = []) {
  return make("dl", {}, Object.entries(values).flatMap(([key, value]) => [make("dt", {}, key),
    make("dd", {}, marked.includes(key) ? make("mark", { title: "differs between the runs" }, value || "–") : value || "–")]));
}

function run(view) {
  return [
    make("p", {}, make("span", { class: `state ${view.state}` }, view.state), view.progress ? `, ${view.progress}` : ""),
    ...view.alarms.map((words) => make("p", { class: "alarm" }, words)),
    view.verdict.length ? make("div", { class: "verdict" }, view.verdict.map((words) => make("p", {}, words))) : null,
    numbers(view.summary),
    later(make("details", {}, make("summary", {}, "Command, configuration, versions")), () => [
      make("p", {}, make("code", {}, view.command)),
      make("h4", {}, "Configuration"),
      page.differing.length ? make("p", { class: "note" }, "Marked: differs between the runs of this page.") : null,
      pairs(view.config, page.differing), make("h4", {}, "Begun, versions"), pairs(view.about)]),
    ...view.parts.map((part) => PARTS[part.kind](part)),
  ];
}

function everything() {
  const main = document.getElementById("main");
  main.replaceChildren();
  if (page.note) main.append(make("p", {}, page.note));
  if (page.refresh) refreshing(main);
  const several = page.runs.length > 1;
  if (several) {
    for (const view of page.runs) main.append(...view.alarms.map((words) => make("p", { class: "alarm" }, `${view.label}: ${words}`)));
    main.append(table(page.overview, "h2"));
  }
  for (const part of page.tables) main.append(table(part, "h2"));
  if (page.pictures.length) {
    main.append(make("div", {}, page.pictures.map(({ caption, src }) => make("section", {}, make("h2", {}, caption), make("img", { alt: caption, src })))));
  }
  const single = page.runs.length === 1 ? page.runs[0] : null;
  if (single) main.append(...run({ ...single, parts: [] }).filter(Boolean));
  if (page.charts.length) {
    main.append(make("h2", {}, several ? "All runs" : "Over the run"));
    if (page.charts.some((chart) => chart.lines.some((line) => line.seeds > 1))) {
      main.append(make("p", { class: "note" }, "Lines are the median over the seeds, bands reach from the lowest to the highest."));
    }
    main.append(make("div", { class: "charts" }, page.charts.map(chart)));
  }
  if (single) main.append(...single.parts.map((part) => PARTS[part.kind](part)));
  if (several) {
    main.append(make("h2", {}, "Run by run"));
    for (const view of page.runs) {
      main.append(later(make("details", { class: "run" }, make("summary", {}, make("strong", {}, view.label), ` ${view.title} `,
        make("span", { class: `state ${view.state}` }, view.state))), () => run(view)));
    }
  }
}

function refreshing(main) {
  const box = make("input", { type: "checkbox", checked: true, style: "display: inline-block" });
  main.append(make("p", { class: "note" }, make("label", {}, box, ` read this file again every ${page.refresh} seconds, while it is being written`)));
  setInterval(() => { if (box.checked) location.reload(); }, 1000 * page.refresh);
}

const PARTS = { Table: table, Tiles: tiles, Gallery: gallery, Frequencies: frequencies, Bars: bars, Planes: planes, Arrows: arrows };
everything();
document.documentElement.dataset.ready = "yes";
