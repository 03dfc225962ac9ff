// The curves of one stage, of all runs that have it. Names of figures are those of docs/metrics.md.
const COLORS = ["var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)", "var(--c7)"];
const HELD_OUT = "held out";

// keys: figures in one chart, with their words; a chart without any figure is left out
function chartSpecs(names, answerPart, parts) {
  const rewards = parts.map((part) => ["reward_" + part.name, part.name + (part.weight === 1 ? "" : ` (weight ${number(part.weight)})`)]);
  const specs = [
    {title: "Reward by part", unit: "mean of completions", keys: [["reward", "total"], ...rewards]},
    {title: "Accuracy", share: true, whole: true, keys: [["reward_" + answerPart, "training"], ...[...names].filter((name) => /^eval_(pass|cons)_at_\d+$/.test(name)).map((name) => [name, name.replace("eval_", "").replace("_at_", "@")])], heldOut: "accuracy"},
    {title: "Preferences in the right order", unit: "share of pairs", share: true, whole: true, keys: [["accuracy", "training"], ["eval_preference_accuracy", HELD_OUT]]},
    {title: "Margin of the scores", unit: "chosen \u2212 rejected", keys: [["margin", "margin"]]},
    {title: "Completion length", unit: "tokens, mean", keys: [["completion_tokens_mean", "training"], ["eval_tokens_mean", HELD_OUT]]},
    {title: "Entropy", unit: "nats per token", keys: [["entropy", "entropy"]]},
    {title: "KL to the reference", unit: "nats per token", keys: [["kl", "KL"]]},
    {title: "Mismatch trainer \u2212 sampler", unit: "nats", keys: [["logprob_error_max", "mismatch"]], zeroIsGood: true},
    {title: "Speed", unit: "tokens/s", keys: [["generated_tokens_per_s", "sampled"], ["trained_tokens_per_s", "trained"]]},
    {title: "Loss", unit: "", keys: [["loss", "loss"], ["policy_loss", "policy loss"], ["eval_loss", HELD_OUT]]},
    {title: "Groups that teach no answer", unit: "share of groups", share: true, whole: true, keys: [["all_right_groups", "all right"], ["all_wrong_groups", "all wrong"]]},
    {title: "Cut at the token limit", unit: "share of completions", share: true, keys: [["truncated", "training"], ["eval_truncated", HELD_OUT]]},
    {title: "Kept texts", unit: "share", share: true, whole: true, keys: [["passed", "completions that pass"], ["solved_problems", "problems solved"]]},
    {title: "Reflective words", unit: "per completion", keys: [["text_reflective_words", "words"]]},
    {title: "Repetitive completions", unit: "share", share: true, keys: [["text_repetitive", "repetitive"]]},
    {title: "Gradient norm", unit: "before clipping", keys: [["grad_norm", "norm"]]},
    {title: "Clipped tokens", unit: "share of trained tokens", share: true, keys: [["clip_low_share", "low, A < 0"], ["clip_high_share", "high, A > 0"]]},
    {title: "Largest ratio", unit: "", keys: [["ratio_max", "ratio"]]},
    {title: "Learning rate", unit: "", keys: [["lr", "lr"]]},
    {title: "Held-out reward by part", unit: "mean", keys: parts.map((part) => ["eval_reward_" + part.name, part.name])},
    {title: "Seconds", unit: "per row", keys: [["seconds", "update"], ["rollout_seconds", "rollout"], ["reward_seconds", "reward"], ["update_seconds", "update"], ["eval_seconds", "evaluation"]]},
  ].map((spec) => ({...spec, keys: spec.keys.filter(([key]) => names.has(key))})).filter((spec) => spec.keys.length);
  const used = new Set([...specs.flatMap((spec) => spec.keys.map(([key]) => key)), "eval_accuracy", "eval_accuracy_low", "eval_accuracy_high"]);
  const rest = [...names].filter((name) => !used.has(name)).map((name) => ({title: name, unit: "", keys: [[name, name]]}));
  return [specs, rest];
}

function chartLines(spec, stage) {
  const lines = [];
  RUNS.forEach((run, r) => {
    const own = stageOf(run, stage);
    if (!own) return;
    spec.keys.forEach(([key, label], k) => {
      const series = own.series[key];
      if (series) lines.push({label, run: r, color: COLORS[k % COLORS.length], dots: key.startsWith("eval_"), steps: series.s, values: series.v});
    });
    if (spec.heldOut && own.evaluations.length) {
      const pick = (key) => own.evaluations.map((row) => row[key]);
      const known = own.evaluations.every((row) => row.problems > 0);
      lines.push({label: HELD_OUT, run: r, color: COLORS[1], dots: true, steps: pick("step"), values: pick("accuracy"), low: known && pick("low"), high: known && pick("high")});
    }
  });
  return lines;
}

function stageCurves(stage) {
  const names = new Set(RUNS.flatMap((run) => Object.keys((stageOf(run, stage) || {series: {}}).series)));
  // The config's parts, and those that only some stages have (a reward model's score).
  const parts = [...new Map(RUNS.flatMap((run) => run.parts).map((part) => [part.name, part])).values()];
  for (const name of names) {
    const part = /^reward_(.*)$/.exec(name);
    if (part && part[1] !== "seconds" && !parts.some((known) => known.name === part[1])) parts.push({name: part[1], weight: 1});
  }
  const [specs, rest] = chartSpecs(names, RUNS[0].answer_part, parts);
  const evaluated = RUNS.some((run) => ((stageOf(run, stage) || {}).evaluations || []).length);
  if (evaluated && !specs.some((spec) => spec.heldOut)) specs.unshift({title: "Accuracy", share: true, whole: true, keys: [], heldOut: "accuracy"});
  if (!names.size) return el("p", {class: "card soft"}, "No figures of this stage yet.");
  const cursor = new Cursor(), draw = (spec) => new Chart(spec, chartLines(spec, stage), cursor).element;
  const thinned = RUNS.flatMap((run) => Object.values((stageOf(run, stage) || {series: {}}).series)).filter((series) => series.of);
  const more = rest.length ? el("details", {}, el("summary", {}, `More figures (${rest.length})`)) : null;
  if (more) more.addEventListener("toggle", () => { if (more.open && !more.querySelector(".charts")) more.append(el("div", {class: "charts"}, rest.map(draw))); });
  return [el("div", {class: "charts"}, specs.map(draw)), more,
    thinned.length ? el("p", {class: "soft small"}, `Curves of up to ${Math.max(...thinned.map((s) => s.of))} rows are thinned to ${DATA.max_points} points at most; the least and the largest value of every stretch are kept.`) : null];
}

// The section, and a function that shows a stage.
function curvesSection(selected) {
  const place = el("div", {}), run = (name) => RUNS.map((r) => stageOf(r, name)).filter(Boolean);
  const begun = STAGE_NAMES.filter((name) => run(name).some((stage) => Object.keys(stage.series).length));
  const show = (name) => { choose(chooser, name); place.replaceChildren(...[stageCurves(name)].flat(Infinity).filter(Boolean)); selected(name); };
  const chooser = choice("Stage", (begun.length ? begun : STAGE_NAMES).map((name) => [name, name]), "", show);
  // First a stage that all runs have, then one that is going on, then the last one of RL.
  const worth = (name) => [run(name).length, run(name).some((stage) => stage.state === "running"), run(name).some((stage) => stage.kind === "grpo")].reduce((sum, part) => 4 * sum + Number(part), 0);
  const first = begun.reduce((best, name) => best === undefined || worth(name) >= worth(best) ? name : best, undefined) || STAGE_NAMES[0];
  const hint = el("p", {class: "soft small"}, "x: updates of the stage. Point at a curve, or focus it and use the arrow keys.", TWO ? " Run A is drawn solid, run B dashed." : "");
  return [section("curves", "Curves", chooser, place, hint), show, first];
}
