"use strict";
// Elements, numbers as text, and the data of the page. Texts of a run reach the page through textContent alone.
const DATA = JSON.parse(document.getElementById("report-data").textContent);
const RUNS = DATA.runs;
const TWO = RUNS.length > 1;
const RUN_KEYS = ["A", "B"];

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
const svg = (tag, properties, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);

const missing = (value) => value === null || value === undefined || Number.isNaN(value);
function number(value) {
  if (missing(value)) return "\u2013";
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  for (const [unit, scale] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e4]]) {
    if (size >= scale) return (value / (unit === "k" ? 1e3 : scale)).toPrecision(3).replace(/\.0+$/, "") + unit;
  }
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}
const percent = (share, digits = 1) => missing(share) ? "\u2013" : (100 * share).toFixed(digits) + "\u202f%";
function duration(seconds) {
  if (missing(seconds)) return "\u2013";
  if (seconds === 0) return "0";
  if (seconds < 9.95) return seconds.toFixed(seconds < 0.095 ? 3 : 1) + "\u202fs";
  if (seconds < 60) return Math.round(seconds) + "\u202fs";
  const whole = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return Math.floor(whole / 60) + "m" + pad(whole % 60);
  return Math.floor(whole / 3600) + "h" + pad(Math.floor(whole / 60) % 60);
}
const utc = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const STATE_SIGN = {finished: "\u2713", running: "\u25b6", stopped: "\u25a0", waiting: "\u25cb"};
const stateText = (state) => el("span", {class: "st-" + state}, STATE_SIGN[state] + " " + state);
const runKey = (i) => TWO ? el("span", {class: "run-key " + (i ? "b" : "a"), "aria-label": "run " + RUN_KEYS[i]}, RUN_KEYS[i]) : null;

// Stage names over all runs, in the order of the first run's config.
const STAGE_NAMES = [...new Set(RUNS.flatMap((run) => run.stages.map((stage) => stage.name)))];
const stageOf = (run, name) => run.stages.find((stage) => stage.name === name);

// Calls `draw` when the element's width changes, outside of the observer's own round, which would complain of what it causes.
function onResize(element, draw) {
  let width = -1;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    draw();
  })).observe(element);
}

// A group of radio buttons that look like a row of buttons; arrow keys move between them.
let choices = 0;
function choice(title, options, selected, change) {
  const name = "choice" + choices++;
  return el("fieldset", {class: "choice"}, el("legend", {}, title), options.map(([value, text]) =>
    el("label", {}, el("input", {type: "radio", name, value, checked: value === selected, onchange: () => change(value)}), el("span", {}, text))));
}
function choose(fieldset, value) {
  for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === value;
}
const LEFT_COLUMNS = new Set(["Kind", "State", "Command"]);
const section = (id, title, ...children) => el("section", {id, "aria-labelledby": id + "-title"}, el("h2", {id: id + "-title"}, title), children);
function table(caption, head, rows, options = {}) {
  const cell = (tag, value) => value instanceof Node && ["TD", "TH"].includes(value.tagName) ? value : el(tag, {}, value);
  return el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption || options.label}, el("table", {}, caption && el("caption", {}, caption),
    el("thead", {}, el("tr", {}, head.map((text) => el("th", {scope: "col", class: LEFT_COLUMNS.has(text) && "left"}, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {class: row.total && "total"}, (row.cells || row).map((value, i) => i === 0 && !(value instanceof Node && value.tagName === "TD") ? el("th", {scope: "row"}, value) : cell("td", value)))))));
}
