// Held-out evaluation, cost, configuration and log.
const bracket = (e) => e.problems ? el("span", {class: "interval"}, ` [${(100 * e.low).toFixed(1)}, ${(100 * e.high).toFixed(1)}]`) : null;
const accuracyCell = (e) => e ? [percent(e.accuracy), bracket(e)] : "\u2013";

// Accuracy before (open) and after (filled) on a line from 0 to 100 %, with intervals.
function intervalPicture(before, after) {
  const width = 150, height = 20, x = (share) => 4 + share * (width - 8), parts = [svg("line", {x1: x(0), x2: x(1), y1: 10, y2: 10, stroke: "var(--line)", "stroke-width": 2})];
  for (const [e, color, filled] of [[before, "var(--soft)", false], [after, "var(--c0)", true]]) {
    if (!e) continue;
    if (e.problems) parts.push(svg("line", {x1: x(e.low), x2: x(e.high), y1: 10, y2: 10, stroke: color, "stroke-width": 4, opacity: 0.55}));
    parts.push(svg("circle", {cx: x(e.accuracy), cy: 10, r: 4, fill: filled ? color : "var(--card)", stroke: color, "stroke-width": 1.6}));
  }
  return svg("svg", {width, height, role: "img", "aria-label": `accuracy ${before ? percent(before.accuracy) + " before, " : ""}${after ? percent(after.accuracy) + " after" : ""}`}, parts);
}

function evaluationRows(run) {
  const format = formatPart(run);
  return run.stages.filter((stage) => stage.evaluations.length).map((stage) => {
    const rows = stage.evaluations, last = rows[rows.length - 1], first = rows.length > 1 ? rows[0] : null;
    const ofFormat = (e) => e && format !== undefined ? percent(e.parts[format]) : "\u2013";
    return [stage.name, el("td", {class: "left soft"}, stage.kind), accuracyCell(first), accuracyCell(last), intervalPicture(first, last),
      ofFormat(first), ofFormat(last), first ? number(first.tokens) : "\u2013", number(last.tokens), number(last.problems),
      stage.state === "finished" ? "" : "step " + last.step];
  });
}

function evaluationSection() {
  const head = ["Stage", "Kind", "Accuracy before", "after", "0 to 100 %", "Format before", "after", "Tokens before", "after", "Problems", ""];
  const tablesOf = RUNS.map((run, i) => {
    const rows = evaluationRows(run);
    const all = run.stages.filter((stage) => stage.evaluations.length > 2 || stage.evaluations.some((e) => Object.keys(e.votes).length)).map((stage) => el("details", {}, el("summary", {}, `All ${stage.evaluations.length} evaluations of ${stage.name}`),
      table("", ["Step", "Accuracy", ...Object.keys(stage.evaluations[0].votes), ...Object.keys(stage.evaluations[0].parts), "Tokens", "Cut at limit", "Problems"], stage.evaluations.map((e) =>
        [String(e.step), accuracyCell(e), ...Object.keys(stage.evaluations[0].votes).map((name) => percent(e.votes[name])), ...Object.keys(stage.evaluations[0].parts).map((name) => percent(e.parts[name])), number(e.tokens), percent(e.truncated), number(e.problems)]), {label: "evaluations of " + stage.name})));
    return el("div", {class: "card"}, TWO ? el("h3", {}, runKey(i), " ", run.name) : null,
      rows.length ? table("", head, rows, {label: "evaluation by stage"}) : el("p", {class: "soft"}, "No evaluation yet."), all);
  });
  return section("evaluation", "Evaluation on held-out problems", el("div", {class: "beside", style: TWO ? {} : {gridTemplateColumns: "minmax(0, 1fr)"}}, tablesOf), TWO ? compareEvaluations() : null,
    el("p", {class: "soft small"}, "In brackets: Wilson's 95 % interval. Before: open circle; after: filled."));
}

// Last accuracy of stages that both runs have.
function compareEvaluations() {
  const rows = STAGE_NAMES.map((name) => [name, ...RUNS.map((run) => { const e = (stageOf(run, name) || {evaluations: []}).evaluations; return e[e.length - 1]; })]).filter(([, a, b]) => a && b);
  if (!rows.length) return null;
  return el("div", {class: "card", style: {marginTop: "14px"}}, table("Last accuracy, A beside B", ["Stage", "A", "B", "B \u2212 A", ""], rows.map(([name, a, b]) =>
    [name, accuracyCell(a), accuracyCell(b), ((b.accuracy - a.accuracy) * 100).toFixed(1) + " points", intervalPicture(a, b)])), el("p", {class: "soft small"}, "Open circle: A; filled: B."));
}

const PHASES = ["load", "rollout", "reward", "update", "eval", "checkpoint", "other"];
const TIME_COLUMNS = [["Time", (c) => c.wall, duration], ...PHASES.map((phase) => [capital(phase), (c) => c.seconds[phase], duration]), ["Lost to kills", (c) => c.lost, duration]];
const WORK_COLUMNS = [["Device hours", (c) => c.device / 3600, (v) => v.toPrecision(3)], ["Prompt tokens", (c) => c.tokens_in, number], ["Sampled", (c) => c.tokens_out, number],
  ["Trained", (c) => c.trained_tokens, number], ["TFLOP", (c) => c.flops / 1e12, number], ["TFLOP/s", (c) => c.wall && c.flops / 1e12 / c.wall, number], ["Wh", (c) => c.joules / 3600, number]];

// One row per stage and one for all; columns without any figure are left out.
function costRows(run, columns, label) {
  const all = {seconds: {}};
  for (const stage of run.stages) {
    for (const [key, value] of Object.entries(stage.cost)) if (typeof value === "number") all[key] = (all[key] || 0) + value;
    for (const [phase, value] of Object.entries(stage.cost.seconds)) all.seconds[phase] = (all.seconds[phase] || 0) + value;
  }
  const used = columns.filter(([title, value]) => title === "Time" || value(all) > 0);
  const cells = (cost) => used.map(([, value, format]) => value(cost) ? format(value(cost)) : "\u2013");
  const isTime = columns === TIME_COLUMNS, state = (stage) => isTime ? [el("td", {class: "left"}, stateText(stage.state)), stage.total ? `${stage.done}/${stage.total}` : String(stage.done)] : [];
  return table("", ["Stage", ...(isTime ? ["State", "Steps"] : []), ...used.map(([title]) => title)],
    [...run.stages.map((stage) => [stage.name, ...state(stage), ...cells(stage.cost)]), {total: true, cells: ["All stages", ...(isTime ? ["", ""] : []), ...cells(all)]}], {label});
}

function costTable(run) {
  const sources = [...new Set(run.stages.map((stage) => stage.cost.joules_source).filter(Boolean))];
  return [costRows(run, TIME_COLUMNS, "seconds by stage and phase"), el("div", {style: {marginTop: "14px"}}, costRows(run, WORK_COLUMNS, "tokens, work and energy by stage")),
    sources.length ? el("p", {class: "soft small"}, "Energy: " + sources.join(", ") + ".") : null,
    run.ledger ? null : el("p", {class: "soft small"}, "Without ledger.jsonl: seconds as each stage reports them, loading left out.")];
}

function givenTables(run) {
  return ((run.costs || {}).tables || []).map((given) => el("div", {style: {marginTop: "14px"}}, table(given.title || "", given.columns, given.rows.map((cells) => /^(all|total)/i.test(cells[0]) ? {total: true, cells} : cells), {label: "cost"}),
    (given.notes || []).map((note) => el("p", {class: "soft small"}, note))));
}

function costSection() {
  return section("cost", "Cost", el("div", {class: "beside", style: TWO ? {} : {gridTemplateColumns: "minmax(0, 1fr)"}}, RUNS.map((run, i) =>
    el("div", {class: "card"}, TWO ? el("h3", {}, runKey(i), " ", run.name) : null, costTable(run), givenTables(run)))));
}

function recordSection() {
  const logLine = (line) => el("span", {class: /^.{19} error /.test(line) ? "log-error" : /^.{19} warning /.test(line) ? "log-warning" : ""}, line + "\n");
  return section("record", "Configuration and log", el("div", {class: "beside", style: TWO ? {} : {gridTemplateColumns: "minmax(0, 1fr)"}}, RUNS.map((run, i) => el("div", {class: "card"},
    TWO ? el("h3", {}, runKey(i), " ", run.name) : null,
    table("Starts", ["Time", "Command", "Commit", "CPU", "Threads", "LibTorch"], run.starts.map((start) => [String(start.time || ""), el("td", {class: "left mono", style: {whiteSpace: "normal"}}, String(start.command || "")), String(start.commit || ""), `${start.cpu || ""} ${start.instructions || ""}`, String(start.threads || ""), String(start.libtorch || "")])),
    el("details", {}, el("summary", {}, "config.yaml"), el("pre", {tabindex: 0}, run.config)),
    run.log.length ? el("details", {}, el("summary", {}, `Log, last ${run.log.length} lines (${run.log_warnings} warnings, ${run.log_errors} errors in all)`), el("pre", {tabindex: 0}, run.log.map(logLine))) : null))));
}
