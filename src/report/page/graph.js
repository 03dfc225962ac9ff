// The stages as a graph: columns from left to right (rows from top to bottom on a narrow screen), one step further for each input.
const NODE = {width: 124, height: 80, gapX: 28, gapY: 36, arc: 28};  // gaps and the room for edges beside the outer lanes
const NARROW = {gapX: 22, gapY: 26, arc: 20};

// Straight lines through the points with rounded corners.
function roundedPath(points) {
  let d = "M" + points[0].map((v) => v.toFixed(1)).join(" ");
  for (let i = 1; i + 1 < points.length; ++i) {
    const [p, q, r] = [points[i - 1], points[i], points[i + 1]], size = (u, v) => Math.hypot(u[0] - v[0], u[1] - v[1]);
    const radius = Math.min(7, size(p, q) / 2, size(q, r) / 2);
    const toward = (u) => size(u, q) ? [0, 1].map((k) => (q[k] + (u[k] - q[k]) * radius / size(u, q)).toFixed(1)).join(" ") : q.join(" ");
    d += `L${toward(p)}Q${q[0].toFixed(1)} ${q[1].toFixed(1)} ${toward(r)}`;
  }
  return d + "L" + points[points.length - 1].map((v) => v.toFixed(1)).join(" ");
}

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

  // Whether an edge runs past a stage beside its own lane.
  hasLongEdge() {
    return this.run.stages.some((stage) => stage.inputs.some((input) => this.places.has(input.stage) && this.places.get(stage.name).layer - this.places.get(input.stage).layer > 1));
  }

  layout() {
    const width = this.element.clientWidth;
    if (!width) return;
    const layers = 1 + Math.max(0, ...[...this.places.values()].map((p) => p.layer)), lanes = 1 + Math.max(0, ...[...this.places.values()].map((p) => p.lane));
    const down = layers * (NODE.width + NODE.gapX) > width * 1.25 && layers > 2;
    const {gapX, gapY} = down ? NARROW : NODE, arc = this.hasLongEdge() ? (down ? NARROW : NODE).arc : 2, room = (width - 2 - (down ? 2 * arc - gapX : 0)) / (down ? lanes : layers) - gapX;
    const size = {w: Math.max(96, Math.min(down ? 180 : 158, room)), h: NODE.height};
    const step = down ? size.h + gapY : size.w + gapX, side = down ? size.w + gapX : size.h + gapY;
    this.box = (name) => {
      const p = this.places.get(name), along = p.layer * step, across = arc + p.lane * side;
      return down ? {x: across, y: along, ...size} : {x: along, y: across, ...size};
    };
    const along = layers * step - (down ? gapY : gapX), across = lanes * side - (down ? gapX : gapY) + 2 * arc;
    const total = down ? {w: across, h: along} : {w: along, h: across};
    Object.assign(this.plane.style, {width: total.w + "px", height: total.h + "px"});
    this.edges.setAttribute("width", total.w); this.edges.setAttribute("height", total.h);
    for (const [name, node] of this.nodes) {
      const b = this.box(name);
      Object.assign(node.style, {left: b.x + "px", top: b.y + "px", width: b.w + "px", height: b.h + "px"});
    }
    this.drawEdges(down);
  }

  // Straight to the next layer; further ones run in the free space beside a lane, each on a track of its own.
  drawEdges(down) {
    const paths = [svg("defs", {}, svg("marker", {id: this.mark, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto"}, svg("path", {d: "M0 0L8 4L0 8z"})))];
    // Points are (along, across) the direction of the graph, so that both directions are drawn alike.
    const turn = ([along, across]) => down ? [across, along] : [along, across];
    const tracks = new Map(), half = (down ? NARROW.gapY : NODE.gapX) / 2, gutter = down ? NARROW.gapX : NODE.gapY;
    const middle = (box) => down ? box.x + box.w / 2 : box.y + box.h / 2, breadth = (box) => down ? box.w : box.h;
    for (const stage of this.run.stages) {
      for (const input of stage.inputs) {
        if (!this.places.has(input.stage)) continue;
        const p = this.places.get(input.stage), q = this.places.get(stage.name), a = this.box(input.stage), b = this.box(stage.name);
        const [start, end] = down ? [a.y + a.h, b.y - 1] : [a.x + a.w, b.x - 1], from = middle(a), to = middle(b);
        const side = p.lane === q.lane ? (p.lane === 0 ? -1 : 1) : Math.sign(p.lane - q.lane);  // of the target on which the edge arrives
        let points;
        if (q.layer - p.layer === 1) {
          points = p.lane === q.lane ? [[start, from], [end, to]] : [[start, from], [start + half, from], [start + half, to + side * 8], [end, to + side * 8]];
        } else {
          const track = q.lane + ":" + side, n = tracks.get(track) || 0;
          tracks.set(track, n + 1);
          const run = to + side * (breadth(b) / 2 + gutter / 2 - 8 + 5 * (n % 4)), leave = p.lane === q.lane ? from + side * breadth(a) * 0.3 : from - side * 8;
          const arrive = to + side * breadth(b) * 0.3, out = half - 4 + 3 * (n % 3);
          points = [[start, leave], [start + out, leave], [start + out, run], [end - out, run], [end - out, arrive], [end, arrive]];
        }
        paths.push(svg("path", {d: roundedPath(points.map(turn)), class: input.key === "from" ? "" : "texts", "marker-end": `url(#${this.mark})`}));
      }
    }
    this.edges.replaceChildren(...paths);
  }
}
