"use strict";
// Right answers to prompts: a tile for each, with a drawing where a key has one.

function tiles(part) {
  const section = make("section", {}, make("h3", {}, part.title), make("p", { class: "note" }, part.note));
  part.questions.forEach((question, i) => {
    const found = question.answers.filter(([, late]) => late > 0).length;
    const all = question.answers.length;
    const label = question.known ? `${found} of all ${all} right answers` : `${found} right answers`;
    const lost = question.known ? "" : all > found ? `, ${all - found} of earlier lost` : "";
    const line = question.name.replaceAll(/\s+/g, " ");
    const head = `${label}${lost}: ${line.length > LONG ? `${line.slice(0, LONG)} …` : line}`;
    const box = later(make("details", { open: i === 0, "data-key": question.name }, make("summary", {}, head)), () => [
      question.prompt !== line ? make("details", {}, make("summary", {}, "The whole prompt"), make("p", { style: "white-space: pre-wrap" }, question.prompt)) : null,
      make("ul", { class: "tiles" }, question.answers.map((answer) => tile(answer, part.drawing, question))),
      question.wrong ? make("p", { class: "note" }, question.wrong === 1 ? "1 completion is not right." : `${show(question.wrong)} completions are not right.`) : null,
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
  if (late && outcomeColour(key)) painted(() => item.style.setProperty("--tile", outcomeColour(key)));
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
