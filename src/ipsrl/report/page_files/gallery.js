"use strict";
// Molecules: sorted, filtered, drawn as RDKit drew them, some at a time.

const CARDS = 24;

function gallery(part) {
  const [SMILES, SCAFFOLD, STATUS, REASON, FIRST] = [0, 1, 2, 3, 4];
  const state = { sort: 1, down: true, status: "", scaffold: "", words: "", column: 1, least: null, most: null, shown: CARDS };
  let drawings = {};

  const list = make("ul", { class: "gallery" });
  const count = make("p", { class: "note", role: "status" });
  const more = make("button", { class: "act", onclick: () => { state.shown += 2 * CARDS; fill(); } }, "Show more molecules");

  function chosen() {
    const rows = part.rows.filter((row) =>
      (!state.status || row[STATUS] === state.status)
      && (!state.scaffold || row[SCAFFOLD] === state.scaffold)
      && (!state.words || row[SMILES].includes(state.words) || row[REASON].includes(state.words))
      && (state.least === null || (row[FIRST + state.column] ?? -Infinity) >= state.least)
      && (state.most === null || (row[FIRST + state.column] ?? Infinity) <= state.most));
    return rows.sort(sorted((row) => row[FIRST + state.sort], state.down));
  }

  function fill() {
    const rows = chosen();
    list.replaceChildren(...rows.slice(0, state.shown).map(card));
    count.textContent = `${show(rows.length)} of ${show(part.rows.length)} molecules`;
    more.hidden = rows.length <= state.shown;
  }

  const picture = (row) => (drawings[row[SMILES]] ? molecule(drawings[row[SMILES]], row[SMILES]) : "");

  function card(row) {
    const values = part.columns.flatMap((name, i) => [make("dt", {}, spaced(name)), make("dd", {}, show(row[FIRST + i]))]);
    const status = row[STATUS] === "valid" ? null : make("p", { class: "alarm" }, `${row[STATUS]}: ${row[REASON]}`);
    return make("li", {}, picture(row), make("code", { title: row[SMILES] }, row[SMILES]), status, make("dl", {}, values), copying("Copy SMILES", row[SMILES]));
  }

  const option = (value, text = value) => make("option", { value }, text);
  const choice = (label, key, options, read = String) => make("label", {}, label, make("select", { onchange: (event) => { state[key] = read(event.target.value); state.shown = CARDS; fill(); } }, options));
  const columns = part.columns.map((name, i) => option(i, spaced(name)));
  const pick = (label, key) => {
    const field = choice(label, key, columns.map((one) => one.cloneNode(true)), Number);
    field.querySelector("select").value = String(state[key]);
    return field;
  };
  const limit = (label, key) => make("label", {}, label, make("input", { type: "number", step: "any", oninput: (event) => { state[key] = event.target.value === "" ? null : Number(event.target.value); fill(); } }));
  const scaffolds = [...part.rows.reduce((counts, row) => counts.set(row[SCAFFOLD], (counts.get(row[SCAFFOLD]) ?? 0) + 1), new Map())]
    .sort((a, b) => b[1] - a[1]).slice(0, 200).filter(([name]) => name);
  const statuses = [...new Set(part.rows.map((row) => row[STATUS]))];
  const controls = make("div", { class: "controls" },
    pick("Sort by", "sort"),
    choice("Order", "down", [option("down", "highest first"), option("up", "lowest first")], (value) => value === "down"),
    choice("Status", "status", [option("", "all"), ...statuses.map((one) => option(one))]),
    choice("Scaffold", "scaffold", [option("", "all"), ...scaffolds.map(([name, n]) => option(name, `${brief(name, 40)} (${n})`))]),
    pick("Only where", "column"),
    limit("is at least", "least"), limit("and at most", "most"),
    make("label", {}, "SMILES or reason contains", make("input", { type: "search", oninput: (event) => { state.words = event.target.value; fill(); } })));
  fill();
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    observer.disconnect();
    unpacked(part.drawings).then((found) => {
      drawings = found;
      const rows = chosen(); // the cards stay, for one of them may have the focus
      [...list.children].forEach((item, i) => item.prepend(picture(rows[i])));
    });
  }, { rootMargin: "1000px" }).observe(list);
  return make("section", {}, make("h3", {}, part.title), part.note ? make("p", { class: "note" }, part.note) : null, controls, count, list, more);
}

/** How molecules can be made: the steps as text, and the picture where there is one. */
function syntheses(part) {
  const routes = part.routes.map((route, i) => {
    const many = route.steps === null ? 0 : route.steps.length;
    const said = route.steps === null ? "no route" : many ? `${many} step${many > 1 ? "s" : ""}` : "in stock";
    const head = `${said}: ${route.smiles}`;
    if (!many) return make("p", { class: "note" }, head);
    const picture = route.picture ? make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Picture of the route to ${route.smiles}` },
      make("img", { alt: `Route to ${route.smiles}`, class: "route", src: `data:image/svg+xml;base64,${route.picture}` })) : null;
    const steps = make("ol", {}, route.steps.map(([reaction, name]) => make("li", {}, make("code", {}, reaction), ` ${name}`)));
    return later(make("details", { open: i === 0 }, make("summary", {}, head)), () => [picture, steps]);
  });
  return make("section", {}, make("h3", {}, part.title), make("p", { class: "note" }, part.note), routes);
}

/** JSON of base64 of zlib. */
async function unpacked(text) {
  if (!text) return {};
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function molecule([lines, shapes, labels], smiles) {
  const svg = draw("svg", { viewBox: "0 0 360 240", role: "img", "aria-label": smiles });
  svg.append(draw("path", { d: lines, fill: "none", stroke: "currentColor", "stroke-width": 3, "stroke-linecap": "round", "stroke-linejoin": "round" }),
    draw("path", { d: shapes, fill: "currentColor" }));
  for (const [x, y, size, text] of labels) svg.append(draw("text", { x, y, "font-size": size, "font-family": "sans-serif", fill: "currentColor" }, text));
  return svg;
}
