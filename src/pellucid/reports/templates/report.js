// Draws a report's figures when they come near the screen; the still pictures stay for print and without scripts.
(function () {
  "use strict";
  const night = matchMedia("(prefers-color-scheme: dark)");
  const dark = JSON.parse(document.getElementById("night").textContent);
  const tip = document.getElementById("tip");

  // Text only, never markup: what is shown here came from data.
  function tooltip(handler, event, item, value) {
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    tip.replaceChildren();
    for (const [name, text] of typeof value === "object" ? Object.entries(value) : [["", value]]) {
      if (text === "" || text === null) continue;
      const line = document.createElement("div"), label = document.createElement("b");
      label.textContent = name ? name + " " : "";
      line.append(label, String(text));
      tip.append(line);
    }
    tip.hidden = false;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)) + "px";
  }

  const views = new Map();
  async function draw(live) {
    const spec = JSON.parse(document.getElementById(live.dataset.spec).textContent);
    for (const param of spec.params || []) if (param.name === "narrow") param.value = live.clientWidth < 440;
    if (night.matches) spec.config = Object.assign({}, spec.config, dark);
    if (views.has(live)) views.get(live).finalize();
    // ast: expressions are interpreted, so the page's policy need not allow eval.
    const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: tooltip };
    views.set(live, await vegaEmbed(live, spec, options));
    live.parentElement.classList.add("drawn");
  }

  const lives = document.querySelectorAll(".live");
  const watcher = new IntersectionObserver(function (entries) {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target).catch(function () { entry.target.replaceChildren(); });
    }
  }, { rootMargin: "600px" });
  lives.forEach(function (live) { watcher.observe(live); });
  night.addEventListener("change", function () { views.forEach(function (_, live) { draw(live); }); });
  addEventListener("scroll", function () { tip.hidden = true; }, { passive: true });

  // Print shows what is folded; on a small screen the contents start folded.
  let opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    opened.forEach(function (details) { details.open = true; });
  });
  addEventListener("afterprint", function () { opened.forEach(function (details) { details.open = false; }); });
  if (innerWidth < 1088) document.querySelector(".toc details").open = false;
})();
