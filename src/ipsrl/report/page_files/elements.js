"use strict";
// The data, and what all parts are made of. Data becomes text nodes and attributes, never markup.

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

const spaced = (name) => String(name).replaceAll("_", " ").replaceAll(/\bl1\b/g, "L1");

function sorted(values, down = false) {
  // Numbers by size, texts by letter, what is not known last in both directions.
  const key = (v) => (v !== null && typeof v === "object" && "median" in v ? v.median : v);
  return (a, b) => {
    [a, b] = [key(values(a)), key(values(b))];
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (down) [a, b] = [b, a];
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
}

// --- tables ---------------------------------------------------------------------------------------

const LONG = 140; // letters of a cell that are shown before it is opened
const ROWS = 100; // rows that are made before somebody asks for more

function cell(value, column, isText) {
  if (column === "run") { // a long one may break after its commas
    const parts = value.length < 32 ? [value] : value.split(/(?<=,)/).flatMap((part) => [part, make("wbr")]);
    return make("th", { class: parts.length === 1 ? "text run short" : "text run", scope: "row" }, parts);
  }
  if (column === "state") {
    const [state] = String(value).split(",");
    return make("td", { class: "text nowrap" }, make("span", { class: `state ${state}` }, show(value)));
  }
  if (typeof value !== "string") return make("td", { class: isText ? "text" : "nowrap" }, show(value));
  if (column === "files written") return make("td", { class: "text nowrap" }, value);
  if (value.length <= LONG) return make("td", { class: value.length < 32 ? "text short" : "text" }, show(value));
  const start = `${value.replaceAll(/\s+/g, " ").slice(0, LONG)} …`;
  return make("td", { class: "text" }, make("details", { class: "text" }, make("summary", {}, start), value));
}

function table(part, level = "h3") {
  let rows = part.rows;
  let shown = ROWS;
  let words = "";
  let order = null; // a comparison of rows
  const body = make("tbody");
  const more = make("button", { class: "act", onclick: () => { shown += 5 * ROWS; fill(); } }, "Show more rows");
  const count = make("p", { class: "note", role: "status" });
  const isText = part.columns.map((_, i) => part.rows.some((row) => typeof row[i] === "string"));
  function fill() {
    const lines = rows.slice(0, shown).map((row) => make("tr", {}, row.map((v, i) => cell(v, part.columns[i], isText[i]))));
    body.replaceChildren(...lines);
    more.hidden = rows.length <= shown;
    count.textContent = part.search ? `${rows.length} of ${part.rows.length} rows` : "";
  }
  function arrange() {
    rows = part.rows.filter((row) => row.some((v) => String(v).toLowerCase().includes(words)));
    if (order) rows.sort(order);
    fill();
  }
  const heads = part.columns.map((name, i) => {
    const head = make("th", { scope: "col", class: name === "run" ? "text run short" : isText[i] ? "text" : null });
    head.append(make("button", { onclick: () => sort(i, head) }, spaced(name)));
    return head;
  });
  function sort(i, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    order = sorted((row) => row[i], down);
    arrange();
  }
  const search = part.search ? make("label", {}, "Search", make("input", {
    type: "search",
    oninput: (event) => { words = event.target.value.toLowerCase(); arrange(); },
  })) : null;
  fill();
  return make("section", {},
    part.title ? make(level, {}, part.title) : null,
    part.note ? make("p", { class: "note" }, part.note) : null,
    search ? make("div", { class: "controls" }, search) : null, part.search ? count : null,
    make("div", { class: part.search ? "wide tall" : "wide", tabindex: "0", role: "region", "aria-label": part.title || part.label || "table" },
      make("table", {}, make("thead", {}, make("tr", {}, heads)), body)),
    more);
}

// --- copying --------------------------------------------------------------------------------------

/** A button that copies a text, and says beside itself whether it did. */
function copying(label, text) {
  const said = make("span", { role: "status", class: "said" });
  const copy = async () => { said.textContent = (await copied(text)) ? " ✓ copied" : " cannot be copied here"; };
  return [make("button", { class: "act", "aria-label": `${label}: ${text}`, onclick: copy }, label), said];
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { readonly: true, style: "position: fixed; top: 0; opacity: 0" }, text);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
