"use strict";
// The page: what is said of all runs, then run by run.

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
    page.runs.length === 1 || view.progress ? make("p", {}, make("span", { class: `state ${view.state}` }, view.state), view.progress ? `, ${view.progress}` : "") : null,
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
  for (const part of page.routes) main.append(syntheses(part));
  if (page.pictures.length) {
    main.append(make("div", {}, page.pictures.map(({ caption, src }) => make("section", {}, make("h2", {}, caption), make("img", { alt: caption, src })))));
  }
  const single = page.runs.length === 1 ? page.runs[0] : null;
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

const PARTS = { Table: table, Tiles: tiles, Gallery: gallery, Routes: syntheses, Frequencies: frequencies, Bars: bars, Planes: planes, Arrows: arrows };
everything();
document.documentElement.dataset.ready = "yes";
