"use strict";
(() => {
  const DARK = JSON.parse(document.getElementById("dark").textContent);
  const darkMedia = window.matchMedia("(prefers-color-scheme: dark)");
  const calmMedia = window.matchMedia("(prefers-reduced-motion: reduce)");

  /* ---- moving to a section ---------------------------------------------- */

  // A frame with a data: address has no place that an anchor could move to: scroll by hand.
  function goTo(id) {
    const target = document.getElementById(id);
    if (!target) return;
    target.scrollIntoView({ behavior: calmMedia.matches ? "auto" : "smooth", block: "start" });
    target.focus({ preventScroll: true });
    try {
      history.replaceState(null, "", `#${id}`);
    } catch {
      // Not allowed in such a frame; the address is only a convenience.
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const row = event.target.closest("tr[data-target]");
    if (link) {
      event.preventDefault();
      goTo(link.getAttribute("href").slice(1));
    } else if (row && !String(window.getSelection())) {
      goTo(row.dataset.target);
    }
  });

  /* ---- filter ------------------------------------------------------------ */

  const chosen = { verdict: "", group: "" };
  const items = [...document.querySelectorAll("[data-verdict][data-group]")];
  const rows = items.filter((item) => item.matches("tr"));

  function filter() {
    const fits = (item) =>
      Object.entries(chosen).every(([key, value]) => !value || item.dataset[key] === value);
    for (const item of items) item.hidden = !fits(item);
    for (const part of document.querySelectorAll("[data-part]")) {
      part.hidden = ![...part.querySelectorAll("article")].some((article) => !article.hidden);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = `${shown} of ${rows.length} claims shown`;
    document.getElementById("none").hidden = shown > 0;
  }

  for (const button of document.querySelectorAll("button[data-filter]")) {
    button.addEventListener("click", () => {
      const key = button.dataset.filter;
      chosen[key] = button.value;
      for (const other of document.querySelectorAll(`button[data-filter="${key}"]`)) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      filter();
    });
  }
  filter();

  /* ---- charts ------------------------------------------------------------ */

  const merged = (first, second) => {
    const result = { ...first };
    for (const [key, value] of Object.entries(second)) {
      const both = [value, first[key]].every((v) => v && typeof v === "object" && !Array.isArray(v));
      result[key] = both ? merged(first[key], value) : value;
    }
    return result;
  };

  const GAP = 28;
  const AXES = 90; // a first guess at the width of axis and labels; the second pass measures it
  const SMALLEST = 130;

  // Panels beside each other do not know the width of the page: choose their number and width.
  function fitted(spec, width, panelWidth) {
    const legend = { legend: { columns: Math.max(1, Math.floor(width / 145)) } };
    const result = { ...spec, config: merged(merged(spec.config, legend), darkMedia.matches ? DARK : {}) };
    if (!spec.concat) {
      return { ...result, width, autosize: { type: "fit-x", contains: "padding" } };
    }
    result.columns = columnsOf(spec, width);
    result.concat = spec.concat.map((panel) => ({ ...panel, width: panelWidth }));
    return result;
  }

  function columnsOf(spec, width) {
    return Math.max(1, Math.min(spec.columns, spec.concat.length, Math.floor(width / 340)));
  }

  // Chromium shows no frame whose data: address has more than 2 MiB, so specs and scripts are packed.
  async function unpacked(element) {
    const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  let library;
  function loaded() {
    library ??= unpacked(document.getElementById("bundle")).then((text) => {
      const script = document.createElement("script");
      script.textContent = text;
      document.head.append(script);
    });
    return library;
  }

  async function draw(figure) {
    await loaded();
    const spec = JSON.parse(await unpacked(figure.querySelector("script")));
    const place = figure.querySelector(".chart");
    const width = Math.floor(place.clientWidth);
    const options = {
      mode: "vega-lite",
      renderer: "svg",
      actions: { export: true, source: false, compiled: false, editor: false },
      tooltip: { theme: darkMedia.matches ? "dark" : "light" },
      downloadFileName: figure.dataset.name,
    };
    const render = async (panelWidth) => {
      figure.view?.finalize();
      const done = await vegaEmbed(place, fitted(spec, width, panelWidth), options);
      figure.view = done.view;
      return Number(place.querySelector("svg.marks").getAttribute("width"));
    };
    if (spec.concat) {
      const columns = columnsOf(spec, width);
      const guess = Math.floor((width - GAP * (columns - 1)) / columns) - AXES;
      const excess = (await render(guess)) - width;
      if (Math.abs(excess) > 2) {
        await render(Math.max(SMALLEST, Math.floor(guess - excess / columns)));
      }
    } else {
      await render();
    }
    figure.dataset.width = String(width);
    figure.dataset.scheme = darkMedia.matches ? "dark" : "light";
    figure.dataset.drawn = "yes";
  }

  const waiting = new Set();
  let busy = false;

  async function work() {
    if (busy) return;
    busy = true;
    for (const figure of waiting) {
      waiting.delete(figure);
      try {
        await draw(figure);
      } catch (error) {
        console.error(error);
        figure.querySelector(".chart").textContent = `This chart could not be drawn: ${error.message}`;
      }
      // Let the page answer to clicks between two charts.
      await new Promise((resolve) => setTimeout(resolve));
    }
    busy = false;
  }

  const stale = (figure) => {
    const width = Math.floor(figure.querySelector(".chart").clientWidth);
    const scheme = darkMedia.matches ? "dark" : "light";
    return width > 0 && (figure.dataset.width !== String(width) || figure.dataset.scheme !== scheme);
  };

  const figures = [...document.querySelectorAll("figure.has-chart")];
  let timer;
  function refresh() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      figures.filter(stale).forEach((figure) => waiting.add(figure));
      work();
    }, 120);
  }
  // Also told of figures that a filter hides (width 0) and shows again.
  const watcher = new ResizeObserver(refresh);
  figures.forEach((figure) => watcher.observe(figure));
  darkMedia.addEventListener("change", refresh);
})();
