// A line chart with a cursor: lines and dots over steps, values at the cursor in the legend. Drawn again when its width changes.
const CHART_HEIGHT = 176, CHART_MARGIN = {left: 46, right: 10, top: 8, bottom: 20};

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) out.push(Math.abs(i * step) < step * 1e-9 ? 0 : i * step);
  return out;
}

// The place of the step nearest to `step` in a sorted list.
function nearest(steps, step) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - steps[low - 1] <= steps[low] - step ? low - 1 : low;
}

// The same step under the cursor in all charts of a stage.
class Cursor {
  constructor() { this.step = null; this.charts = []; }
  move(step) { this.step = step; for (const chart of this.charts) chart.showCursor(); }
}

class Chart {
  // lines: [{label, run, color, dots, steps, values, low, high}]; low and high are the ends of intervals of dots
  constructor(spec, lines, cursor) {
    this.spec = spec; this.lines = lines.filter((line) => line.steps.length > 0); this.cursor = cursor; this.width = 0;
    this.format = spec.share ? (v) => percent(v) : number;
    this.at = el("span", {class: "at"});
    this.keys = el("div", {class: "keys"});
    this.plot = svg("svg", {tabindex: 0, role: "img", "aria-label": this.summary()});
    this.element = el("figure", {class: "chart"}, el("figcaption", {}, el("span", {}, el("span", {class: "title"}, spec.title), spec.unit ? el("span", {class: "unit"}, "  " + spec.unit) : null), this.at), this.keys, this.plot);
    const finite = this.lines.flatMap((line) => line.values.filter((v) => v !== null));
    if (spec.zeroIsGood && finite.length && finite.every((v) => v === 0)) this.element.append(el("p", {class: "flat"}, "exactly 0 in all ", finite.length, " rows shown"));
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => cursor.move(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => { this.keys.removeAttribute("aria-live"); cursor.move(null); });
    cursor.charts.push(this);
    this.steps = [...new Set(this.lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
    this.showCursor();
    onResize(this.plot, () => this.resize());
  }

  summary() {
    return this.spec.title + ". " + this.lines.map((line) => {
      const finite = line.values.filter((v) => v !== null);
      if (!finite.length) return line.label + ": no finite value";
      return (TWO ? "run " + RUN_KEYS[line.run] + " " : "") + line.label + ": from " + this.format(finite[0]) + " to " + this.format(finite[finite.length - 1]);
    }).join("; ") + ". Arrow keys move the cursor.";
  }

  resize() {
    const width = Math.round(this.plot.clientWidth);
    if (width > 0 && width !== this.width) { this.width = width; this.draw(); }
  }

  range() {
    let low = Infinity, high = -Infinity;
    for (const line of this.lines) {
      for (const list of [line.values, line.low || [], line.high || []]) {
        for (const value of list) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
      }
    }
    if (low > high) return [0, 1];
    if (this.spec.share) return [Math.min(0, low), this.spec.whole ? Math.max(1, high) : Math.max(high * 1.08, 0.01)];
    if (low >= 0 && low < high * 0.6) low = 0;
    if (low === high) { const pad = Math.abs(low) * 0.1 || 1; return [low === 0 ? 0 : low - pad, high + pad]; }
    const pad = (high - low) * 0.06;
    return [low === 0 ? 0 : low - pad, high + pad];
  }

  draw() {
    const {left, right, top, bottom} = CHART_MARGIN, width = this.width;
    const first = this.steps[0] ?? 0, last = Math.max(this.steps[this.steps.length - 1] ?? 1, first + 1), [low, high] = this.range();
    this.x = (step) => left + (step - first) / (last - first) * (width - left - right);
    this.y = (value) => CHART_HEIGHT - bottom - (value - low) / (high - low) * (CHART_HEIGHT - top - bottom);
    this.stepAt = (x) => first + (x - left) / (width - left - right) * (last - first);
    this.plot.setAttribute("viewBox", `0 0 ${width} ${CHART_HEIGHT}`);
    const parts = [];
    for (const value of ticks(low, high, 4)) {
      const y = Math.round(this.y(value)) + 0.5;
      parts.push(svg("line", {class: "grid-line", x1: left, x2: width - right, y1: y, y2: y}),
                 svg("text", {class: "tick", x: left - 6, y: y + 3.5, "text-anchor": "end"}, this.spec.share ? percent(value, high - low < 0.05 ? 1 : 0) : number(value)));
    }
    for (const step of ticks(first, last, Math.max(2, Math.min(6, width / 80))).filter(Number.isInteger)) {
      const x = this.x(step), anchor = x > width - right - 14 ? "end" : step === first ? "start" : "middle";
      parts.push(svg("text", {class: "tick", x: anchor === "end" ? width - 2 : x, y: CHART_HEIGHT - 5, "text-anchor": anchor}, number(step)));
    }
    for (const line of this.lines) parts.push(...this.curve(line));
    this.marks = svg("g", {});
    this.plot.replaceChildren(...parts, this.marks);
    this.showCursor();
  }

  curve(line) {
    const parts = [], x = this.x, y = this.y;
    let path = "", pen = false;
    line.steps.forEach((step, i) => {
      const value = line.values[i];
      if (value === null) { pen = false; return; }
      path += (pen ? "L" : "M") + x(step).toFixed(1) + " " + y(value).toFixed(1);
      pen = true;
    });
    if (line.steps.length > 1) parts.push(svg("path", {class: "curve" + (line.run ? " b" : "") + (line.steps.length > 400 ? " dense" : ""), d: path, style: {stroke: line.color, opacity: line.dots ? 0.55 : 1}}));
    if (!line.dots && line.steps.length > 1) return parts;
    line.steps.forEach((step, i) => {
      if (line.values[i] === null) return;
      if (line.low) parts.push(svg("line", {x1: x(step), x2: x(step), y1: y(line.low[i]), y2: y(line.high[i]), style: {stroke: line.color}, "stroke-width": 1.5, opacity: 0.7}));
      parts.push(svg("circle", {cx: x(step), cy: y(line.values[i]), r: line.steps.length > 60 ? 1.8 : 3, style: {fill: line.run ? "var(--card)" : line.color, stroke: line.color}, "stroke-width": 1.5}));
    });
    return parts;
  }

  // The legend, with the values at the cursor or the last ones.
  showCursor() {
    const step = this.cursor.step, labels = new Map(), marks = [];
    for (const line of this.lines) {
      const i = step === null ? line.steps.length - 1 : nearest(line.steps, step), value = line.values[i];
      if (!labels.has(line.label)) labels.set(line.label, []);
      labels.get(line.label).push({line, value, i});
      if (step !== null && value !== null && this.x) marks.push(svg("circle", {cx: this.x(line.steps[i]), cy: this.y(value), r: 3.2, style: {fill: line.color}}));
    }
    if (step !== null && this.x && this.steps.length) {
      const at = this.x(this.steps[nearest(this.steps, step)]);
      marks.unshift(svg("line", {class: "cursor", x1: at, x2: at, y1: CHART_MARGIN.top, y2: CHART_HEIGHT - CHART_MARGIN.bottom}));
    }
    if (this.marks) this.marks.replaceChildren(...marks);
    this.at.textContent = !this.steps.length ? "no rows" : "step " + (step === null ? this.steps[this.steps.length - 1] : this.steps[nearest(this.steps, step)]);
    this.keys.replaceChildren(...[...labels].map(([label, found]) => el("span", {class: "key"},
      el("i", {class: found[0].line.dots && "dots", style: {background: found[0].line.color}}), label,
      found.map(({line, value, i}) => [TWO ? el("span", {class: "ab"}, RUN_KEYS[line.run]) : null, el("b", {}, this.format(value)),
        line.low && value !== null ? el("span", {class: "interval"}, `[${(100 * line.low[i]).toFixed(1)}, ${(100 * line.high[i]).toFixed(1)}]`) : null]))));
  }

  point(event) {
    if (!this.x || !this.steps.length) return;
    const box = this.plot.getBoundingClientRect();
    this.cursor.move(this.steps[nearest(this.steps, this.stepAt(event.clientX - box.left))]);
  }

  key(event) {
    const now = this.cursor.step === null ? this.steps.length - 1 : nearest(this.steps, this.cursor.step);
    const page = Math.max(1, Math.round(this.steps.length / 10));
    const to = {ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now + page, PageDown: now - page, Home: 0, End: this.steps.length - 1}[event.key];
    if (event.key === "Escape") this.cursor.move(null);
    if (to === undefined) return;
    event.preventDefault();
    this.keys.setAttribute("aria-live", "polite");
    this.cursor.move(this.steps[Math.max(0, Math.min(this.steps.length - 1, to))]);
  }
}
