// The head of the page: what runs these are, how far they are, their main figures, their alarms.
function runState(run) {
  if (run.stages.length && run.stages.every((stage) => stage.state === "finished")) return ["finished", "good"];
  if (run.locked) return ["running", "going"];
  return run.stages.some((stage) => stage.state !== "waiting") ? ["stopped", "warn"] : ["not begun", ""];
}

const totalSeconds = (run) => run.stages.reduce((sum, stage) => sum + (stage.cost.wall || 0), 0);
const formatPart = (run) => (run.parts.find((part) => part.kind === "format") || {}).name;

// The stage whose last evaluation is the best; the later one of equals.
function bestEvaluated(run) {
  const last = (stage) => stage.evaluations[stage.evaluations.length - 1].accuracy;
  return run.stages.filter((stage) => stage.evaluations.length).reduce((best, stage) => !best || last(stage) >= last(best) ? stage : best, null);
}

function tile(label, value, more) {
  return el("div", {class: "tile"}, el("div", {class: "label"}, label), el("div", {class: "value"}, value), more ? el("div", {class: "more"}, more) : null);
}

function tiles(run) {
  const stage = bestEvaluated(run), evaluation = stage && stage.evaluations[stage.evaluations.length - 1];
  const tokens = run.stages.reduce((sum, s) => sum + (s.cost.tokens_out || 0), 0), trained = run.stages.reduce((sum, s) => sum + (s.cost.trained_tokens || 0), 0);
  const finished = run.stages.filter((s) => s.state === "finished").length;
  return el("div", {class: TWO ? "tiles two" : "tiles"},
    evaluation ? tile("Best held-out accuracy", percent(evaluation.accuracy), `${stage.name}, ${percent(evaluation.low)} to ${percent(evaluation.high)}`) : tile("Best held-out accuracy", "\u2013", "not evaluated yet"),
    tile("Stages", `${finished}/${run.stages.length}`, "finished"),
    tile("Time", duration(totalSeconds(run)), run.ledger ? "all starts, ledger" : "stages, without loading"),
    tile("Tokens sampled", number(tokens), number(trained) + " trained"),
    tile("Alarms", String(run.alarms.length), run.alarms.length ? "see below" : "none"));
}

function runHead(run, i) {
  const [state, mood] = runState(run), start = run.starts[0] || {}, last = run.starts[run.starts.length - 1] || {};
  const facts = [run.dir, start.time && "begun " + start.time.replace("T", " ").replace("Z", " UTC"),
    run.starts.length > 1 && `${run.starts.length} starts`, last.cpu && `${last.cpu}, ${last.threads} threads, ${last.instructions || ""}`, last.commit && "commit " + last.commit].filter(Boolean);
  return el("div", {}, el("div", {class: "run-title"}, runKey(i), el(TWO ? "h2" : "h1", TWO ? {style: {margin: 0}} : {}, run.name),
    el("span", {class: "chip " + mood}, state), el("span", {class: "soft small"}, "as of " + utc(run.as_of))),
    el("div", {class: "facts"}, facts.map((fact) => el("span", {}, fact))), tiles(run));
}

function drawHead() {
  const top = document.getElementById("top");
  if (TWO) top.append(el("h1", {}, RUNS.map((run) => run.name).join(" and ")));
  top.append(el("div", {class: "runs", style: TWO ? {marginTop: "10px"} : {}}, RUNS.map(runHead)));
}

function alarmSection() {
  const lists = RUNS.map((run, i) => el("div", {}, TWO ? el("h3", {}, runKey(i), " ", run.name) : null,
    run.alarms.length
      ? el("ul", {class: "alarms"}, run.alarms.map((alarm) => el("li", {class: "alarm"}, el("b", {}, capital(alarm.rule)), ` in ${alarm.stage}, steps ${alarm.from} to ${alarm.to}: `, alarm.text)))
      : el("p", {class: "calm"}, run.stages.some((stage) => stage.state !== "waiting") ? "\u2713 No alarm." : "No figures yet."),
    run.notes.length ? el("ul", {class: "notes"}, run.notes.map((note) => el("li", {}, note))) : null));
  return section("alarms", "Alarms", el("div", {class: "beside"}, lists));
}

function graphSection(select) {
  const graphs = RUNS.map((run, i) => new StageGraph(run, i, select));
  const shown = RUNS.map((run, i) => el("div", {class: "card"}, TWO ? el("h3", {}, runKey(i), " ", run.name) : null, graphs[i].element));
  const legend = el("div", {class: "legend-line"}, ["finished", "running", "stopped", "waiting"].map((state) => stateText(state)),
    el("span", {}, "\u2500\u25b8 weights"), el("span", {}, "\u00b7\u00b7\u00b7\u25b8 texts or scores"), el("span", {}, "a stage shows its curves when chosen"));
  return [section("stages", "Stages", el("div", {style: {display: "grid", gap: "12px", gridTemplateColumns: "minmax(0, 1fr)"}}, shown), legend), (name) => graphs.forEach((graph) => graph.select(name))];
}
