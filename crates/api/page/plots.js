// What happened in the last hours: requests, their latency, and the sources. Each plot is also there as a table.
import { get } from "./api.js";
import { drawing, h, name, svg, visible } from "./dom.js";
import { text } from "./strings.js";

const HEIGHT = 150, LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 22;
/** How many rows a table has: it shows the hours, and not every point. */
const ROWS = 24;

// What a row of a table shows of several points.
const sum = (values) => values.reduce((a, b) => a + b, 0);
const average = (values) => sum(values) / values.length;
const largest = (values) => values.reduce((a, b) => (b === null ? a : Math.max(a ?? 0, b)), null);
const latest = (values) => values.at(-1);

/** Round numbers from 0 to at least `most`, not more than five. `steps` are the distances that look round in the plot's unit. */
function ticks(most, steps) {
  let step = steps.find((one) => one * 4 >= most);
  if (!step) {
    const power = 10 ** Math.floor(Math.log10(most / 4));
    step = [1, 2, 5, 10].map((n) => n * power).find((one) => one * 4 >= most);
  }
  const list = [];
  for (let at = 0; at < most + step; at += step) list.push(at);
  return list;
}

const number = (n) => (n === null || n === undefined ? "–" : n >= 100 ? Math.round(n).toLocaleString("en") : String(Math.round(n * 100) / 100));
const rates = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50];
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= length) return `${Math.round((seconds / length) * 10) / 10} ${unit}`;
  return `${Math.round(seconds)} s`;
}

/** A plot of `series`, each with a label and a value for each slot. */
function plot({ title, series, unit, steps, width, slotMs, until }) {
  const count = series[0].values.length;
  const heights = series[0].bars ? series[0].values.map((_, n) => sum(series.map((one) => one.values[n]))) : series.flatMap((one) => one.values.map((value) => value ?? 0));
  const most = Math.max(...heights, steps[0]);
  const marks = ticks(most, steps), top = marks.at(-1);
  // A server that has just started has few points. They take the place that they would take in an hour.
  const shown = Math.max(count, Math.ceil(3_600_000 / slotMs));
  const x = (n) => LEFT + ((n + shown - count + 0.5) / shown) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const from = until - shown * slotMs;
  const path = (values) => {
    let d = "", pen = false;
    values.forEach((value, n) => {
      if (value === null) { pen = false; return; }
      const alone = !pen && (values[n + 1] ?? null) === null;
      d += `${pen ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}${alone ? "h.1" : ""}`;
      pen = true;
    });
    return d;
  };
  // Bars of a later series stand on those before it.
  const bars = (of) => series[of].values.map((value, n) => {
    const below = sum(series.slice(0, of).map((one) => one.values[n]));
    return value ? `M${x(n).toFixed(1)} ${y(below).toFixed(1)}V${y(below + value).toFixed(1)}` : "";
  }).join("");
  const hours = [];
  const every = [1 / 6, 0.5, 1, 2, 3].find((one) => (shown * slotMs) / (one * 3_600_000) <= Math.max(2, width / 90)) ?? 6;
  for (let at = Math.ceil(from / (every * 3_600_000)) * every * 3_600_000; at <= until; at += every * 3_600_000) hours.push(at);
  const xAt = (at) => LEFT + ((at - from) / (until - from)) * (width - LEFT - RIGHT);
  const newest = series.map((one) => text.plotNow(one.label, unit(one.values.findLast((value) => value !== null) ?? null))).join(", ");
  const perRow = Math.max(1, Math.ceil(count / ROWS));
  const rows = [];
  for (let end = count; end > 0; end -= perRow) rows.push([end - 1, series.map((one) => one.join(one.values.slice(Math.max(0, end - perRow), end)))]);
  return h("figure", { class: "plot" },
    h("figcaption", {}, h("p", { class: "strong" }, title), h("p", { class: "legend" }, series.map((one, n) => h("span", {}, svg("svg", { class: `key line-${n}`, viewBox: "0 0 20 10", "aria-hidden": "true" },
      svg("path", { d: "M0 5H20" })), one.label, " ", h("strong", {}, unit(one.values.findLast((value) => value !== null) ?? null)))))),
    svg("svg", { class: "graph", role: "img", "aria-label": text.plotSays(title, newest, unit(most)), viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT },
      marks.map((mark) => [svg("path", { class: "grid", d: `M${LEFT} ${y(mark)}H${width - RIGHT}` }), svg("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, unit(mark))]),
      hours.map((at) => svg("text", { x: xAt(at), y: HEIGHT - 4, "text-anchor": "middle" }, clock(at))),
      series.map((one, n) => svg("path", { class: `line line-${n}${one.bars ? " bars" : ""}`, "stroke-width": one.bars ? Math.max(1, 0.7 * (x(1) - x(0))).toFixed(1) : null, d: one.bars ? bars(n) : path(one.values) }))),
    h("details", {}, h("summary", { "aria-label": text.tableOf(title) }, text.asTable), h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": title }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, text.until), series.map((one) => h("th", { scope: "col" }, one.label)))),
      h("tbody", {}, rows.map(([n, values]) => h("tr", {}, h("th", { scope: "row" }, clock(until - (count - 1 - n) * slotMs)), values.map((value) => h("td", {}, unit(value))))))))));
}

export function plotsView(signal) {
  const requests = h("div", { class: "plots" }, h("p", {}, text.loading)), sources = h("div", {});
  const element = h("section", {}, h("h1", { tabindex: "-1" }, text.history), h("p", { class: "lead" }, text.historyLead), requests, sources);
  let found = null, until = 0;

  const draw = drawing(requests, (history, end, width) => {
    const per = history.slotSeconds;
    const common = { width, slotMs: per * 1000, until: end };
    // The newest slot is not over yet.
    const rate = (label, values) => ({ label, values: values.map((count, n) => count / (n < values.length - 1 ? per : Math.max(10, history.newestSeconds))), join: average });
    return [
      plot({ ...common, title: text.rate, unit: number, steps: rates, series: [rate(text.requests, history.requests.count), rate(text.failedRequests, history.requests.failed)] }),
      plot({ ...common, title: text.latency, unit: (ms) => (ms === null ? "–" : `${number(ms)} ms`), steps: [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250],
        series: [{ label: text.median, values: history.requests.medianMs, join: largest }, { label: text.p95, values: history.requests.p95Ms, join: largest }] })];
  });
  const drawSources = drawing(sources, (history, end, width) => {
    const common = { width, slotMs: history.slotSeconds * 1000, until: end };
    // As bars, several slots are one.
    const group = Math.max(1, Math.ceil(history.requests.count.length / 40));
    const grouped = (values) => {
      const list = [];
      for (let n = values.length; n > 0; n -= group) list.unshift(sum(values.slice(Math.max(0, n - group), n)));
      return list;
    };
    if (!history.sources.length) return [];
    return [h("h2", {}, text.sources), history.sources.map((source) => h("section", { class: "source-plots", "aria-label": visible(source.name) }, h("h3", {}, name(source.name)), h("div", { class: "plots" },
      plot({ ...common, title: text.freshness, unit: duration, steps: [15, 30, 60, 300, 900, 1800, 3600, 21600], series: [{ label: text.age, values: source.ageSeconds, join: latest }] }),
      plot({ ...common, slotMs: common.slotMs * group, title: text.syncs((history.slotSeconds * group) / 60), unit: number, steps: [1, 5, 10, 25, 50, 100], series: [
        { label: text.readings, values: grouped(source.reads), bars: true, join: sum }, { label: text.failures, values: grouped(source.failures), bars: true, join: sum }] }))))];
  });

  function redraw() {
    if (!found) return;
    const column = requests.clientWidth >= 720 ? (requests.clientWidth - 16) / 2 : requests.clientWidth;
    const width = Math.max(240, Math.floor(column) - 34);
    const open = [...element.querySelectorAll("details")].map((details) => details.open);
    draw(found, until, width);
    drawSources(found, until, width);
    element.querySelectorAll("details").forEach((details, n) => { details.open = open[n] ?? false; });
  }
  async function load() {
    found = await get("/v1/history", { signal });
    until = Date.now();
    redraw();
  }
  const resized = new ResizeObserver(redraw);
  resized.observe(element);
  signal.addEventListener("abort", () => resized.disconnect());
  return { element, load, changed: () => {}, every: 10_000 };
}
