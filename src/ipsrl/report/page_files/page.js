"use strict";
// The page: what is said of all runs, then run by run.

const known = page.runs.filter((view) => view.state !== "unknown"); // the others cannot be read

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

/** Where a run comes from: its command as it was typed, seed, dates and versions. */
function source(view) {
  return make("div", { class: "source" }, make("p", { class: "command" }, make("code", {}, view.command), copying("Copy the command", view.command)), pairs(view.about));
}

function run(view) {
  return [
    known.length === 1 || view.progress ? make("p", {}, make("span", { class: `state ${view.state}` }, view.state), view.progress ? `, ${view.progress}` : "", view.resume ? make("span", {}, "; continue with: ", make("code", {}, view.resume)) : null) : null,
    ...view.alarms.map((words) => make("p", { class: "alarm" }, words)),
    view.verdict.length ? make("div", { class: "verdict" }, view.verdict.map((words) => make("p", {}, words))) : null,
    numbers(view.summary),
    source(view),
    later(make("details", {}, make("summary", {}, "Configuration and origin")), () => [
      page.differing.length ? make("p", { class: "note" }, "Marked: differs between the runs of this page.") : null,
      pairs(view.config, page.differing), make("h3", {}, "Origin"), pairs({ "the same again": view.again, ...view.origin })]),
    ...view.parts.map((part) => PARTS[part.kind](part)),
  ];
}

function everything() {
  const main = document.getElementById("main");
  main.replaceChildren();
  if (page.note) main.append(make("p", {}, page.note));
  if (page.refresh) refreshing(main);
  for (const view of page.runs) if (!known.includes(view)) main.append(...view.alarms.map((words) => make("p", { class: "alarm" }, words)));
  const several = known.length > 1;
  if (several) for (const view of known) main.append(...view.alarms.map((words) => make("p", { class: "alarm" }, `${view.label}: ${words}`)));
  for (const part of page.tables) main.append(table(part, "h2"));
  for (const part of page.routes) main.append(syntheses(part));
  if (page.pictures.length) {
    main.append(make("div", {}, page.pictures.map(({ caption, src }) => make("section", {}, make("h2", {}, caption),
      make("div", { class: "wide picture", tabindex: "0", role: "region", "aria-label": `Picture: ${caption}` }, make("img", { alt: caption, src }))))));
  }
  if (several) {
    for (const part of page.overview) main.append(table(part, "h2"));
    if (Object.keys(page.alike).length) main.append(make("h2", {}, "The same for all runs"), pairs(page.alike));
  }
  const single = known.length === 1 ? known[0] : null;
  if (single) main.append(...run({ ...single, parts: [] }).filter(Boolean));
  if (page.charts.length) {
    const families = [...new Set(page.charts.map((one) => one.family))];
    main.append(make("h2", {}, several ? "All runs" : "Over the run"));
    if (page.charts.some((chart) => chart.lines.some((line) => line.seeds > 1))) {
      main.append(make("p", { class: "note" }, "Lines are the median over the seeds, bands reach from the lowest to the highest."));
    }
    if (several) main.append(together());
    for (const family of families) {
      if (families.length > 1) main.append(make("h3", {}, family));
      main.append(make("div", { class: "charts" }, page.charts.filter((one) => one.family === family).map(chart)));
    }
  }
  if (single) main.append(...single.parts.map((part) => PARTS[part.kind](part)));
  if (several) {
    main.append(make("h2", {}, "Run by run"));
    for (const view of known) {
      main.append(later(make("details", { class: "run", "data-key": view.label }, make("summary", {}, make("strong", {}, view.label), ` ${view.title} `,
        make("span", { class: `state ${view.state}` }, view.state))), () => run(view)));
    }
  }
}

// --- reading again ----------------------------------------------------------------------------------

function refreshing(main) {
  const box = make("input", { type: "checkbox", checked: true, style: "display: inline-block" });
  main.append(make("p", { class: "note" }, make("label", {}, box, ` read this file again every ${page.refresh} seconds, while it is being written`)));
  setInterval(() => { if (box.checked) again(); }, 1000 * page.refresh);
}

function again() {
  const open = [...document.querySelectorAll("details[open]")].map(place);
  history.replaceState({ open, top: scrollY }, "");
  location.reload();
}

/** Where an element stands, in words that stay while the run goes on. */
function place(element) {
  const heads = [];
  for (let node = element; node && node.id !== "main"; node = node.parentElement) {
    heads.push(node.dataset.key ?? node.querySelector(":scope > :is(summary, figcaption, h2, h3, h4)")?.textContent ?? "");
  }
  return heads.filter(Boolean).join(" < ");
}

/** Opens what was open before the page was read again; what is opened may hold more. */
async function reopened({ open, top }) {
  const before = new Set(open);
  for (let depth = 0; depth < 5; depth++) {
    for (const one of document.querySelectorAll("details")) one.open = before.has(place(one));
    await new Promise((ready) => setTimeout(ready));
  }
  scrollTo({ top, behavior: "instant" });
}

const PARTS = { Table: table, Tiles: tiles, Gallery: gallery, Routes: syntheses, Frequencies: frequencies, Bars: bars, Planes: planes, Arrows: arrows };
everything();
if (page.refresh && history.state) reopened(history.state);
document.documentElement.dataset.ready = "yes";
