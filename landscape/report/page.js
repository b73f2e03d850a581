"use strict";
(async () => {
  const root = document.documentElement;
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  const packed = document.getElementById("plotly");
  const plots = [...document.querySelectorAll(".plot")];
  if (!packed || !plots.length || !("DecompressionStream" in window)) return;

  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const program = document.createElement("script");
  program.textContent = await new Response(stream).text();
  document.head.append(program);
  packed.remove();
  if (!window.Plotly) return;
  root.classList.add("interactive");

  // The colors of charts are those of the page: "var(--blue)" in their data is the value of --blue.
  const withColors = (text) => {
    const style = getComputedStyle(root);
    return text.replace(/var\((--[a-z]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  };
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };
  const touched = !matchMedia("(hover: hover)").matches; // there a finger on a chart scrolls the page
  const chosen = new Map(); // the level of the contour by the name of its group
  const drawn = new Set();

  const chartOf = (plot) => {
    const chart = JSON.parse(withColors(document.getElementById(plot.dataset.chart).textContent));
    const level = chosen.get(plot.dataset.level);
    if (touched) chart.layout.dragmode = chart.layout.scene ? "orbit" : false;
    for (const trace of level === undefined ? [] : chart.data) setLevel(trace, level);
    return chart;
  };
  const setLevel = (trace, level) => {
    if (trace.type === "surface") Object.assign(trace.contours.z, { start: level, end: level + 1 });
    if (trace.type === "contour" && trace.meta === "level") Object.assign(trace.contours, { start: level, end: level });
  };
  const draw = async (plot) => {
    const chart = chartOf(plot);
    await window.Plotly.react(plot, chart.data, chart.layout, config);
    drawn.add(plot);
    plot.dataset.drawn = "yes";
  };
  const forget = (plot) => {
    window.Plotly.purge(plot);
    drawn.delete(plot);
    delete plot.dataset.drawn;
  };

  for (const slider of document.querySelectorAll(".level input")) {
    const group = slider.dataset.level;
    const shown = slider.parentElement.querySelector("output");
    const read = () => {
      const height = Number(slider.value);
      const loss = slider.dataset.scale === "log" ? 10 ** height : height;
      chosen.set(group, height);
      shown.textContent = loss.toPrecision(4);
      slider.setAttribute("aria-valuetext", `loss ${loss.toPrecision(4)}`);
    };
    let waiting = 0;
    slider.addEventListener("input", () => {
      read();
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => {
        for (const plot of drawn) if (plot.dataset.level === group) move(plot, chosen.get(group));
      });
    });
    read();
  }
  const move = (plot, level) => {
    plot.data.forEach((trace, place) => {
      if (trace.type === "surface") window.Plotly.restyle(plot, { "contours.z.start": level, "contours.z.end": level + 1 }, [place]);
      if (trace.type === "contour" && trace.meta === "level") window.Plotly.restyle(plot, { "contours.start": level, "contours.end": level }, [place]);
    });
  };

  // Charts are drawn when they are near the window; those in three dimensions are dropped again, since a browser
  // keeps few of them.
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !drawn.has(target)) draw(target);
      if (!isIntersecting && drawn.has(target) && target.dataset.solid) forget(target);
    }
  }, { rootMargin: "600px" });
  for (const plot of plots) watcher.observe(plot);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const plot of drawn) draw(plot); });
})();
