// The sample browser: a prompt, its completions side by side, and filters. Texts of models are put in as text nodes only.
const pattern = (words) => words.map((word) => word.replace(/[^a-z0-9]/gi, (c) => "\\" + c)).sort((a, b) => b.length - a.length).join("|");
const MARKS = new RegExp(`\\b(?:(${pattern(DATA.paper_words)})|(${pattern(DATA.more_words)}))\\b|(</?(?:think|answer)>)|(\\[\\.\\.\\. \\d+ bytes left out \\.\\.\\.\\])`, "gi");

function markedText(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(MARKS)) {
    parts.push(text.slice(end, match.index));
    const [all, paper, more, tag] = match;
    parts.push(paper ? el("mark", {}, all) : more ? el("mark", {class: "more"}, all) : el("span", {class: tag ? "tag" : "gap"}, all));
    end = match.index + all.length;
  }
  return [...parts, text.slice(end)];
}

const VERDICTS = {right: ["\u2713 right", "good", "right"], wrong: ["\u2717 wrong", "bad", "wrong"], answer_unreadable: ["? no readable answer", "warn", "unreadable"],
  gold_unreadable: ["\u2013 gold answer unreadable", "", "unreadable"], timed_out: ["\u23f1 timed out", "warn", "unreadable"], kept: ["\u2713 kept", "good", "right"],
  chosen: ["\u2713 chosen", "good", "right"], rejected: ["\u2717 rejected", "bad", "wrong"]};
const JUDGED_RIGHT = new Set(["right", "kept", "chosen"]), BY_ANSWER = (completion) => !["kept", "chosen", "rejected"].includes(completion.verdict);
const figure = (value) => typeof value === "number" ? number(value) : missing(value) ? "\u2013" : String(value);

function completionCard(completion, gold, i) {
  const [words, mood, border] = VERDICTS[completion.verdict] || [completion.verdict || "not judged", "", ""];
  const parts = Object.entries(completion.parts || {}).map(([name, value]) => el("span", {}, name + " ", el("b", {}, figure(value))));
  return el("article", {class: "completion " + border, "aria-label": "completion " + (i + 1)},
    el("div", {class: "head"}, el("span", {class: "chip " + mood}, words), el("span", {class: "num small soft"}, completion.reward === null ? "" : "reward ", el("b", {}, completion.reward === null ? "" : figure(completion.reward)))),
    el("div", {class: "parts"}, parts),
    el("div", {class: "text", tabindex: 0, role: "region", "aria-label": "text of completion " + (i + 1)}, markedText(completion.text)),
    !BY_ANSWER(completion) ? null : el("div", {class: "answers"}, el("span", {class: "label"}, "answer "), el("b", {class: "mono"}, completion.extracted || "\u2013"), el("span", {class: "label"}, "  gold "), el("span", {class: "mono"}, gold || "\u2013")),
    el("div", {class: "small soft num", style: {whiteSpace: "normal"}}, [completion.tokens !== null && completion.tokens + " tokens", completion.finish && "ends by " + completion.finish,
      completion.advantage !== null && "advantage " + figure(completion.advantage), completion.reflective > 0 && completion.reflective + " reflective"].filter(Boolean).join(" \u00b7 ")));
}

const SHOWN = [["all", "all groups", () => true], ["all_wrong", "all wrong", (g) => g.all_wrong], ["format_only", "right format, wrong answer", (g) => g.format_only],
  ["mixed", "right and wrong", (g) => !g.all_wrong && g.completions.some((c) => !JUDGED_RIGHT.has(c.verdict))],
  ["all_right", "all right", (g) => g.completions.every((c) => JUDGED_RIGHT.has(c.verdict))],
  ["reflective", "with reflective words", (g) => g.completions.some((c) => c.reflective > 0)]];

class SampleBrowser {
  constructor() {
    this.run = 0; this.at = 0;
    const field = (label, control) => el("label", {}, label, control);
    this.runs = el("select", {onchange: () => { this.run = Number(this.runs.value); this.fillStages(); }}, RUNS.map((run, i) => el("option", {value: i}, (TWO ? RUN_KEYS[i] + " " : "") + run.name)));
    this.stages = el("select", {onchange: () => this.fillSteps()});
    this.steps = el("select", {onchange: () => this.filter()});
    this.shown = el("select", {onchange: () => this.filter()});
    this.search = el("input", {type: "search", placeholder: "in prompts and texts", size: 16, oninput: () => this.filter()});
    this.back = el("button", {type: "button", class: "plain", onclick: () => this.move(-1), "aria-label": "previous group"}, "\u2190");
    this.next = el("button", {type: "button", class: "plain", onclick: () => this.move(1), "aria-label": "next group"}, "\u2192");
    this.count = el("span", {class: "num", role: "status"});
    this.place = el("div", {});
    this.note = el("p", {class: "soft small"});
    const pager = el("div", {class: "pager"}, this.back, this.count, this.next);
    this.element = el("div", {}, el("div", {class: "filters"}, TWO ? field("Run", this.runs) : null, field("Stage", this.stages), field("Step", this.steps), field("Show", this.shown), field("Search", this.search), pager), this.place, this.note);
    this.element.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, .text")) return;
      const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (by) { event.preventDefault(); this.move(by); }
    });
    const first = RUNS.findIndex((run) => run.samples.some((s) => s.groups.length));
    this.run = Math.max(0, first);
    this.runs.value = String(this.run);
    this.fillStages();
  }

  showStage(name) {
    if (![...this.stages.options].some((option) => option.value === name) || this.stages.value === name) return;
    this.stages.value = name;
    this.fillSteps();
  }
  fillStages() {
    const samples = RUNS[this.run].samples.filter((s) => s.groups.length), before = this.stages.value;
    this.stages.replaceChildren(...samples.map((s) => el("option", {value: s.stage}, s.stage)));
    this.stages.value = samples.some((s) => s.stage === before) ? before : samples.length ? samples[samples.length - 1].stage : "";
    this.fillSteps();
  }
  fillSteps() {
    this.samples = RUNS[this.run].samples.find((s) => s.stage === this.stages.value) || {groups: [], files: 0, files_read: 0, groups_read: 0};
    const steps = [...new Set(this.samples.groups.map((g) => g.step))];
    this.steps.replaceChildren(el("option", {value: ""}, "all steps"), ...steps.map((step) => el("option", {value: step}, String(step))));
    this.filter();
  }
  filter() {
    const step = this.steps.value, words = this.search.value.trim().toLowerCase(), before = this.shown.value || "all";
    const inReach = this.samples.groups.filter((g) => (step === "" || String(g.step) === step) &&
      (!words || g.prompt.toLowerCase().includes(words) || g.completions.some((c) => c.text.toLowerCase().includes(words))));
    this.shown.replaceChildren(...SHOWN.map(([value, text, test]) => el("option", {value}, `${text} (${inReach.filter(test).length})`)));
    this.shown.value = before;
    this.groups = inReach.filter(SHOWN.find(([value]) => value === before)[2]);
    this.at = 0;
    this.draw();
  }
  move(by) {
    this.at = Math.max(0, Math.min(this.groups.length - 1, this.at + by));
    this.draw();
  }
  draw() {
    const group = this.groups[this.at], {files, files_read: read, groups_read: seen, groups} = this.samples;
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at >= this.groups.length - 1;
    this.count.textContent = group ? `group ${this.at + 1} of ${this.groups.length}` : "no group";
    this.note.textContent = groups.length ? `${groups.length} of the ${seen} groups in ${read} of ${files} step files, evenly spread over the steps. Of each file the first all-wrong, right-format-wrong-answer and mixed group come first, so shares among these groups are not the run's.` : "";
    if (!group) {
      this.place.replaceChildren(el("p", {class: "card soft"}, this.samples.groups.length ? "No group fits these filters." : "No texts of this run yet (log_rollouts writes them)."));
      return;
    }
    const right = group.completions.filter((c) => JUDGED_RIGHT.has(c.verdict)).length;
    const facts = [["Step", group.step], ["Problem", group.id], group.gold && ["Gold answer", group.gold], BY_ANSWER(group.completions[0]) && ["Right", `${right} of ${group.completions.length}`]].filter(Boolean);
    this.place.replaceChildren(el("div", {class: "card", style: {marginBottom: "10px"}}, el("div", {class: "prompt", style: {marginBottom: 0}}, el("div", {}, el("div", {class: "label"}, "Prompt"), el("div", {class: "text"}, group.prompt)),
      el("div", {style: {display: "flex", flexWrap: "wrap", gap: "4px 20px"}}, facts.map(([name, value]) => el("div", {}, el("div", {class: "label"}, name), el("div", {class: "mono"}, String(value))))))),
      el("div", {class: "completions"}, group.completions.map((c, i) => completionCard(c, group.gold, i))));
  }
}

function samplesSection() {
  const browser = new SampleBrowser();
  const key = el("p", {class: "soft small"}, el("mark", {}, "reflective words"), " of the R1 paper, ", el("mark", {class: "more"}, "further ones"), ", ", el("span", {class: "tag"}, "<think>"), " tags.");
  return [section("samples", "Samples", browser.element, key), browser];
}
