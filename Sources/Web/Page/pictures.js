"use strict";
// Drawings without a library: a plot of a series, and the flow from fronts to instances.

const svgSpace = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(svgSpace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A plot, drawn anew by `draw`. A screen reader has the figure beside it. */
class Plot {
  constructor() {
    this.line = svg("path", { d: "" });
    this.area = svg("path", { d: "", class: "area" });
    this.element = svg("svg", { class: "plot", viewBox: "0 0 1000 240", preserveAspectRatio: "none", "aria-hidden": "true" },
      this.area, this.line);
  }
  /** The last `span` seconds of a series; what is at most `floor` stays low. Where nothing is known, there is nothing. */
  draw(series, span, floor) {
    const end = moment(), xs = [], ys = [];
    let top = floor;
    series.forEach((time, value) => {
      if (end - time > span) return;
      xs.push(1000 - 1000 * (end - time) / span);
      ys.push(value);
      if (value > top) top = value;
    });
    // A step has twenty seconds, a look two: what is farther apart was not looked at in between.
    const gap = 1000 * 50 / span;
    let line = "", area = "", begin = null, last = null;
    const close = () => { if (begin !== null) area += `L${last} 240L${begin} 240Z`; begin = null; };
    for (let i = 0; i < xs.length; i += 1) {
      if (Number.isNaN(ys[i]) || begin !== null && xs[i] - last > gap) close();
      if (Number.isNaN(ys[i])) continue;
      const x = Math.round(xs[i]), point = `${x} ${Math.round(225 - 210 * ys[i] / top)}`;
      line += (begin === null ? "M" : "L") + point;
      area += (begin === null ? "M" : "L") + point;
      if (begin === null) begin = x;
      last = x;
    }
    close();
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
  }
}

/** Cuts a text to what a box has room for. */
function fitted(text, most) { return text.length > most ? text.slice(0, most - 1) + "…" : text; }

/** The picture of one service: its fronts to the left, its instances to the right; closer together where there is less room. */
function flowPicture(service, kindOf, isNarrow) {
  const fronts = service.fronts ?? [];
  const instances = service.instances.slice(0, 40);
  const row = 46, width = isNarrow ? 340 : 760, box = isNarrow ? 146 : 240, letters = isNarrow ? 17 : 28;
  const rows = Math.max(fronts.length, instances.length, 1);
  const height = rows * row + 6;
  const middle = (count, index) => (rows - count) * row / 2 + index * row + row / 2 + 3;
  const picture = svg("svg", { class: "flow", viewBox: `0 0 ${width} ${height}`, role: "img" });
  const sentences = [];
  fronts.forEach((front, f) => {
    instances.forEach((instance, i) => {
      const open = instance.flow ? instance.flow.connections : 0;
      const y1 = middle(fronts.length, f), y2 = middle(instances.length, i);
      picture.append(svg("path", {
        d: `M${box} ${y1}C${width / 2} ${y1} ${width / 2} ${y2} ${width - box} ${y2}`,
        "stroke-width": open > 0 ? Math.min(1.5 + 2 * Math.log2(1 + open), 14) : 1.5, class: open > 0 ? "some" : "none",
      }));
    });
  });
  const node = (x, y, title, note, kind) => {
    const name = svg("text", { x: x + 10, y: y - 3 });
    name.textContent = fitted(title, letters);
    const small = svg("text", { x: x + 10, y: y + 13, class: "small" });
    small.textContent = fitted(note, Math.round(letters * 1.35));
    picture.append(svg("rect", { x: x + 1, y: y - 20, width: box - 2, height: 40, rx: 6, class: kind }), name, small);
    sentences.push(`${title}: ${note}`);
  };
  fronts.forEach((front, f) => {
    const waiting = front.queued ? `, ${front.queued} waiting` : "";
    node(0, middle(fronts.length, f), front.address ?? service.name, `${front.connections} open${waiting}, ${front.connectionsTotal} in all`, "");
  });
  instances.forEach((instance, i) => {
    const flow = instance.flow;
    node(width - box, middle(instances.length, i), instance.id,
      flow ? `${flow.connections} open, ${instance.state}, ${flow.connectionsTotal} in all` : instance.state, kindOf(instance));
  });
  const title = svg("title", {});
  title.textContent = `Connections of ${service.name}. ${sentences.join("; ")}`;
  picture.prepend(title);
  return picture;
}
