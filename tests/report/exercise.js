// Put at the end of a report by scripts/check_report.sh: uses every control once and tells on the console what is wrong.
{
  const fail = (text) => console.error("FAILED " + text);
  const wait = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
  (async () => {
    await wait();
    await wait();
    console.log("READY " + Math.round(performance.now()) + " ms until everything is drawn, " + innerWidth + " px wide, " + document.documentElement.outerHTML.length + " characters");
    const wide = () => { if (document.documentElement.scrollWidth > innerWidth) fail(`the page is ${document.documentElement.scrollWidth} px wide, the window ${innerWidth}`); };
    wide();
    for (const node of document.querySelectorAll(".node")) { node.click(); await wait(); }
    let charts = 0;
    for (const stage of document.querySelectorAll("#curves input")) {
      stage.click();
      await wait();
      for (const details of document.querySelectorAll("#curves details")) details.open = true;
      await wait();
      for (const plot of document.querySelectorAll("figure.chart svg")) {
        ++charts;
        const box = plot.getBoundingClientRect();
        plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 20}));
        for (const name of ["Home", "ArrowRight", "PageUp", "PageDown", "ArrowLeft", "End", "Escape"]) key(plot, name);
        if (/NaN|undefined/.test(plot.outerHTML)) fail("a chart has a coordinate that is no number: " + plot.getAttribute("aria-label"));
      }
    }
    wide();
    const [stages, steps, shown] = [...document.querySelectorAll("#samples select")].slice(-3);
    let groups = 0;
    for (const stage of [...stages.options].map((option) => option.value)) {
      stages.value = stage;
      stages.dispatchEvent(new Event("change"));
      for (const filter of [...shown.options].map((option) => option.value)) {
        shown.value = filter;
        shown.dispatchEvent(new Event("change"));
      }
      shown.value = "all";
      shown.dispatchEvent(new Event("change"));
      const next = document.querySelector("#samples .pager button:last-child");
      for (let i = 0; i < 400; ++i) { ++groups; if (next.disabled) break; next.click(); }
      if (steps.options.length > 1) { steps.value = steps.options[1].value; steps.dispatchEvent(new Event("change")); }
    }
    for (const details of document.querySelectorAll("details")) details.open = true;
    await wait();
    wide();
    for (const element of document.querySelectorAll("img, iframe, object, embed, link, base, form, plaintext")) fail("the page has a <" + element.tagName + ">");
    for (const script of document.querySelectorAll("script")) if (script.src) fail("a script from outside");
    if (document.querySelectorAll("script").length !== 3) fail(document.querySelectorAll("script").length + " scripts instead of 3 (data, page, this one)");
    for (const button of document.querySelectorAll("button, select, input, summary, [tabindex]")) {
      if (button.closest("details:not([open])")) continue;
      const name = button.getAttribute("aria-label") || button.textContent || (button.closest("label") || {}).textContent || button.getAttribute("aria-labelledby");
      if (!name && button.id !== "main" && !button.classList.contains("graph")) fail("a control without a name: " + button.outerHTML.slice(0, 80));
    }
    console.log(`DONE ${charts} charts, ${groups} groups of samples`);
  })().catch((error) => fail(error.stack));
}
