// Puts the page together.
(() => {
  document.querySelector("#main noscript").remove();
  drawHead();
  let browser = null;
  const [graph, markStage] = graphSection((name) => { show(name); document.getElementById("curves").scrollIntoView(); });
  const [curves, show, first] = curvesSection((name) => { markStage(name); if (browser) browser.showStage(name); });
  const [samples, found] = samplesSection();
  browser = found;
  const sections = [alarmSection(), graph, curves, evaluationSection(), samples, costSection(), recordSection()];
  document.getElementById("main").append(...sections);
  document.getElementById("sections").append(...sections.map((part) => el("a", {href: "#" + part.id}, part.querySelector("h2").firstChild.textContent.replace(" on held-out problems", "").replace("Configuration and log", "Config and log"))));
  document.getElementById("footer").append(`Written by r1 report, as of ${utc(RUNS[0].as_of)}. Formulas: docs/metrics.md and docs/report.md.`);
  if (first) show(first);
})();
