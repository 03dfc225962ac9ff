// The stages as a graph: columns from left to right (rows from top to bottom on a narrow screen), one step further for each input.
const NODE = {width: 126, height: 74, gapX: 26, gapY: 34, arc: 26};

// layer: the longest way from a stage without inputs; lane: beside others of the same layer.
function placeStages(stages) {
  const places = new Map(), taken = new Set();
  for (const stage of stages) {
    const inputs = stage.inputs.map((input) => places.get(input.stage)).filter(Boolean);
    const layer = inputs.length ? Math.max(...inputs.map((p) => p.layer)) + 1 : 0;
    const parent = inputs.find((p) => p.layer === layer - 1);
    let lane = parent ? parent.lane : 0;
    if (taken.has(layer + ":" + lane)) for (lane = 0; taken.has(layer + ":" + lane); ++lane);
    taken.add(layer + ":" + lane);
    places.set(stage.name, {layer, lane});
  }
  return places;
}

function stageLines(run, stage) {
  const last = stage.evaluations[stage.evaluations.length - 1];
  const price = run.costs && run.costs.stages && run.costs.stages[stage.name];
  const used = stage.cost.wall ? duration(stage.cost.wall) : "";
  const steps = stage.total ? `${stage.done}/${stage.total}` : stage.done ? String(stage.done) : "";
  const made = last ? percent(last.accuracy) + " right" : stage.kept !== undefined ? number(stage.kept) + " kept" : "";
  return [el("span", {class: "name"}, stage.name), el("span", {class: "line"}, stage.kind),
    el("span", {class: "line"}, el("span", {class: "st-" + stage.state}, STATE_SIGN[stage.state] + " "), [stage.state === "finished" ? "" : steps, used, price].filter(Boolean).join(" \u00b7 ") || stage.state),
    made ? el("span", {class: "line"}, made) : null];
}

class StageGraph {
  constructor(run, index, select) {
    this.run = run; this.places = placeStages(run.stages); this.mark = "arrow" + index; this.down = null;
    this.plane = el("div", {class: "graph-plane"});
    this.edges = svg("svg", {"aria-hidden": "true"});
    this.nodes = new Map(run.stages.map((stage) => [stage.name, el("button", {
      type: "button", class: "node " + stage.state, "aria-pressed": "false", onclick: () => select(stage.name),
      title: `${stage.name} (${stage.kind}), ${stage.state}: show its curves`,
      "aria-label": `${stage.name}, ${stage.kind}, ${stage.state}, from ${stage.inputs.map((i) => i.stage).join(" and ")}`},
      stageLines(run, stage), el("span", {class: "bar"}, el("i", {style: {width: (stage.state === "finished" ? 100 : stage.total ? 100 * stage.done / stage.total : 0) + "%"}})))]));
    this.plane.append(this.edges, ...this.nodes.values());
    this.element = el("div", {class: "graph", tabindex: -1}, this.plane);
    onResize(this.element, () => this.layout());
  }

  select(name) {
    for (const [own, node] of this.nodes) node.setAttribute("aria-pressed", String(own === name));
  }

  layout() {
    const width = this.element.clientWidth;
    if (!width) return;
    const layers = 1 + Math.max(0, ...[...this.places.values()].map((p) => p.layer)), lanes = 1 + Math.max(0, ...[...this.places.values()].map((p) => p.lane));
    const down = layers * (NODE.width + NODE.gapX) > width * 1.25 && layers > 2;
    const room = (width - 4 - (down ? 2 * NODE.arc : 0)) / (down ? lanes : layers) - NODE.gapX;
    const size = {w: Math.max(96, Math.min(down ? 180 : 158, room)), h: NODE.height};
    const step = down ? size.h + 20 : size.w + NODE.gapX, side = down ? size.w + NODE.gapX : size.h + NODE.gapY;
    this.box = (name) => {
      const p = this.places.get(name), along = p.layer * step, across = NODE.arc + p.lane * side;
      return down ? {x: across, y: along, ...size} : {x: along, y: across, ...size};
    };
    const along = layers * step - (down ? 20 : NODE.gapX), across = lanes * side - (down ? NODE.gapX : NODE.gapY) + 2 * NODE.arc;
    const total = down ? {w: across, h: along} : {w: along, h: across};
    Object.assign(this.plane.style, {width: total.w + "px", height: total.h + "px"});
    this.edges.setAttribute("width", total.w); this.edges.setAttribute("height", total.h);
    for (const [name, node] of this.nodes) {
      const b = this.box(name);
      Object.assign(node.style, {left: b.x + "px", top: b.y + "px", width: b.w + "px", height: b.h + "px"});
    }
    this.drawEdges(down);
  }

  drawEdges(down) {
    const paths = [svg("defs", {}, svg("marker", {id: this.mark, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto"}, svg("path", {d: "M0 0L8 4L0 8z"})))];
    // Coordinates along and across the direction of the graph, so that both directions are drawn alike.
    const turn = (along, across) => down ? `${across} ${along}` : `${along} ${across}`;
    for (const stage of this.run.stages) {
      for (const input of stage.inputs) {
        if (!this.places.has(input.stage)) continue;
        const p = this.places.get(input.stage), q = this.places.get(stage.name), a = this.box(input.stage), b = this.box(stage.name);
        const [start, end] = down ? [a.y + a.h, b.y - 2] : [a.x + a.w, b.x - 2];
        const middle = (box) => down ? box.x + box.w / 2 : box.y + box.h / 2;
        const from = middle(a), to = middle(b);
        let d;
        if (q.layer - p.layer === 1 || p.lane !== q.lane) {
          const bend = Math.min(30, (end - start) / 2);
          const enter = q.layer - p.layer === 1 ? 0 : (to > from ? -16 : 16);
          d = `M${turn(start, from)}C${turn(start + bend, from)} ${turn(end - bend, to + enter)} ${turn(end, to + enter)}`;
        } else {  // over the stages between them, on the outer side
          const outer = p.lane === 0 ? -1 : 1, edge = (down ? a.w : a.h) / 2, height = edge + NODE.arc - 5 - Math.min(10, 3 * (q.layer - p.layer - 2));
          const first = from + outer * edge * 0.55, peak = from + outer * height, last = to + outer * edge * 0.6;
          d = `M${turn(start, first)}C${turn(start + 14, peak)} ${turn(start + 10, peak)} ${turn(start + 34, peak)}L${turn(end - 34, peak)}C${turn(end - 10, peak)} ${turn(end - 14, last)} ${turn(end, last)}`;
        }
        paths.push(svg("path", {d, class: input.key === "from" ? "" : "texts", "marker-end": `url(#${this.mark})`}));
      }
    }
    this.edges.replaceChildren(...paths);
  }
}
