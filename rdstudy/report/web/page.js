// What the page of a report does: it draws charts as they come into view, isolates what a legend names, leads from a
// point to its runs, sorts, filters and saves tables. Vega and Vega-Lite are loaded before it; nothing else is.
"use strict";
const root = document.documentElement;
const study = JSON.parse(document.getElementById("study-data").textContent);
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const ROWS_SHOWN = 100; // of a long table, before a reader asks for more
const SVG = "http://www.w3.org/2000/svg";

for (const image of document.querySelectorAll("img[data-picture]")) image.src = pictures[image.dataset.picture];

// --- elements and text -----------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function shown(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value !== "number") return String(value);
  const text = Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toLocaleString("en") : String(Number(value.toPrecision(5)));
  return text.replace("-", "−");
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function csv(heads, rows) {
  const field = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [heads, ...rows].map((row) => row.map(field).join(",") + "\n").join("");
}

// --- rows: columns of JSON, see rdstudy/report/embedding.py ------------------------------------------------------------

function valueAt(column, row) {
  if (Array.isArray(column)) return column[row];
  return "all" in column ? column.all : column.of[column.at[row]];
}

function records(block, first, end) {
  const names = Object.keys(block), rows = [];
  for (let row = first; row < end; row++) {
    const record = {};
    for (const name of names) record[name] = valueAt(block[name], row);
    rows.push(record);
  }
  return rows;
}

// --- a plot ----------------------------------------------------------------------------------------------------------

const DARK = {
  "#1B1F24": "#E8ECF0", "#4A525B": "#B4BDC6", "#8A929B": "#98A2AC", "#C4CAD0": "#4A525B", "#E3E6EA": "#343B43",
  "#EEF0F2": "#272D33", "#C3C9CF": "#4A525B", "#D5D8DC": "#4A525B", "#0072B2": "#56A5DC", white: "#14181C",
};

// A colour that is too dark for a dark page, lighter.
function lighter(colour) {
  const levels = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  const light = 0.3 * levels[0] + 0.6 * levels[1] + 0.1 * levels[2];
  const share = Math.max(0, (110 - light) / (255 - light));
  return "#" + levels.map((level) => Math.round(level + share * (255 - level)).toString(16).padStart(2, "0")).join("");
}

let printing = false;
const isDark = () => dark.matches && !printing; // paper is light

function coloured(part) {
  if (!isDark()) return part;
  if (typeof part === "string") return DARK[part.toUpperCase()] ?? DARK[part] ?? (/^#[0-9a-f]{6}$/i.test(part) ? lighter(part) : part);
  if (Array.isArray(part)) return part.map(coloured);
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, coloured(value)]));
}

const layersOf = (plot) => plot.layer ?? [plot];
const isDots = (layer) => layer.name === "dots";
const NARROW = 0.7; // of the width for which words were placed

// Words were placed for a panel of the template's width; in one much narrower, the first and the last of them stay.
function withWords(layer, width, plotWidth) {
  if (layer.mark?.x?.expr !== "datum.text_x") return layer;
  const mark = { ...layer.mark, x: { expr: `datum.text_x * width / ${plotWidth}` } };
  if (width > NARROW * plotWidth) return { ...layer, mark };
  const ends = [
    { window: [{ op: "row_number", as: "place" }], frame: [null, null] },
    { joinaggregate: [{ op: "count", as: "words" }] },
    { filter: "datum.place === 1 || datum.place === datum.words" },
  ];
  return { ...layer, mark, transform: [...(layer.transform ?? []), ...ends] };
}
const LEGENDS = ["color", "stroke", "fill", "strokeDash", "shape"];

// A layer without legends, which leaves out what a reader has hidden. A field's value is hidden as "field=value".
function interactive(layer) {
  const encoding = { ...layer.encoding }, fields = new Set();
  for (const channel of LEGENDS) {
    const used = encoding[channel];
    if (!used?.field) continue;
    fields.add(used.field);
    encoding[channel] = { ...used, legend: null };
  }
  const transform = [...(layer.transform ?? [])];
  for (const field of fields) transform.push({ filter: `indexof(hidden, ${JSON.stringify(field + "=")} + datum[${JSON.stringify(field)}]) < 0` });
  const made = { ...layer, encoding };
  if (transform.length) made.transform = transform;
  return made;
}

// The nearest dot answers to the pointer; rings show the same β, and the same run, in all charts.
function withHover(layers) {
  return layers.flatMap((layer) => {
    if (layer.name === "seeds") return [layer, ring(layer, "toNumber(datum.beta) === hot && datum.seed === hotSeed", 70)];
    if (!isDots(layer)) return [layer];
    const near = { name: "near", select: { type: "point", on: "pointerover", nearest: true, clear: "pointerout", fields: ["beta"] } };
    return [ring(layer, "toNumber(datum.beta) === hot", 170), { ...layer, params: [near] }];
  });
}

function ring(layer, test, size) {
  const { tooltip, color, fill, stroke, shape, opacity, ...encoding } = layer.encoding;
  const mark = { type: "point", size, filled: false, stroke: "#8A929B", strokeWidth: 1.5, opacity: 1, clip: true };
  return { data: layer.data, transform: [...(layer.transform ?? []), { filter: test }], mark, encoding };
}

function yTitle(plot) {
  return layersOf(plot).map((layer) => layer.encoding?.y?.axis?.title).find((title) => title) ?? null;
}

// Only the first panel of a row has a title of its vertical axis, and rows on the page are others.
function titleOf(chart, panel, number) {
  for (let place = chart.panels.indexOf(panel); place >= 0; place--) {
    const template = chart.panels[place].plots[number]?.[0];
    const title = template === undefined ? null : yTitle(chart.templates[template]);
    if (title) return title;
  }
  return null;
}

function withTitle(layer, title) {
  const axis = layer.encoding?.y?.axis;
  return axis && title ? { ...layer, encoding: { ...layer.encoding, y: { ...layer.encoding.y, axis: { ...axis, title } } } } : layer;
}

function specification(chart, panel, number, width) {
  const [template, ranges] = panel.plots[number];
  const plot = chart.templates[template], title = titleOf(chart, panel, number);
  const datasets = Object.fromEntries(ranges.map(([block, first, end], name) => [name, records(chart.rows[block], first, end)]));
  const layers = withHover(layersOf(plot).map((layer) => withTitle(interactive(withWords({ data: plot.data, ...layer }, width - 60, plot.width)), title)));
  const axisY = { ...chart.config.axisY, minExtent: 34 };
  const config = { ...chart.config, background: "transparent", aria: false, axisY };
  const params = [{ name: "hidden", value: [] }, { name: "hot", value: null }, { name: "hotSeed", value: null }];
  const { data, layer, encoding, mark, transform, ...rest } = plot;
  return coloured({ ...rest, layer: layers, params, config, datasets, width, autosize: { type: "fit-x", contains: "padding" } });
}

const tooltip = element("div", { className: "tooltip", hidden: true, role: "tooltip" });
document.body.append(tooltip);

function showTooltip(_, event, item, value) {
  tooltip.hidden = !value || typeof value !== "object";
  if (tooltip.hidden) return;
  const list = element("dl");
  for (const [name, text] of Object.entries(value)) list.append(element("dt", { textContent: name }), element("dd", { textContent: text ?? "–" }));
  tooltip.replaceChildren(list);
  const { clientWidth: width, clientHeight: height } = root;
  const left = event.clientX + 14, top = event.clientY + 14;
  tooltip.style.left = `${Math.max(4, left + tooltip.offsetWidth > width ? event.clientX - 14 - tooltip.offsetWidth : left)}px`;
  tooltip.style.top = `${Math.max(4, top + tooltip.offsetHeight > height ? event.clientY - 14 - tooltip.offsetHeight : top)}px`;
}

// --- figures ---------------------------------------------------------------------------------------------------------

const figures = new Map(); // figure element -> Figure
let hot = null, hotSeed = null;

class Figure {
  constructor(node) {
    this.node = node;
    this.key = node.id.replace(/^figure-/, "");
    this.experiment = node.closest("[data-experiment]")?.dataset.experiment;
    this.panelsNode = node.querySelector(".panels");
    this.legendNode = node.querySelector(".legend");
    this.hidden = [];
    this.views = new Map(); // plot element -> vega.View
  }

  // The chart of the view that is switched on, or the only one that there is.
  get chart() {
    const scripts = [...this.node.querySelectorAll("script.spec")];
    const script = scripts.find((each) => each.dataset.view === switched()) ?? scripts[0];
    if (this.script !== script) {
      this.script = script;
      this.parsed = JSON.parse(script.textContent);
    }
    return this.parsed;
  }

  layOut() {
    this.clear();
    const chart = this.chart;
    if (chart.own) return this.placeOwn(chart.own);
    this.panelsNode.style.setProperty("--columns", chart.columns);
    for (const panel of chart.panels) this.panelsNode.append(this.panelNode(chart, panel));
    this.fillLegend(chart);
  }

  clear() {
    for (const view of this.views.values()) view.finalize();
    this.views.clear();
    for (const plot of this.panelsNode.querySelectorAll(".plot")) unwatch(plot);
    this.panelsNode.replaceChildren();
  }

  placeOwn(specification) {
    const plot = element("div", { className: "plot own", role: "img", "aria-label": this.title });
    plot.style.minHeight = "200px";
    plot.make = () => coloured({ ...specification, config: { ...specification.config, background: "transparent" } });
    this.panelsNode.style.setProperty("--columns", 1);
    this.panelsNode.append(element("div", { className: "panel" }, plot));
    watch(plot, this);
  }

  get title() {
    return this.node.querySelector("figcaption :is(h3, h4, h5)")?.firstChild?.textContent.trim() ?? this.key;
  }

  panelNode(chart, panel) {
    const node = element("div", { className: "panel" });
    if (panel.title) node.append(element("p", { className: "panel-title", textContent: panel.title }));
    if (panel.subtitle) node.append(element("p", { className: "panel-subtitle soft", textContent: panel.subtitle }));
    panel.plots.forEach(([template], number) => {
      const { width, height } = chart.templates[template];
      const name = [this.title, panel.title].filter(Boolean).join(": ");
      const plot = element("div", { className: "plot", role: "img", "aria-label": number ? `${name}, below` : name });
      plot.style.minHeight = `${height + 44}px`;
      node.style.maxWidth = `${width + 96}px`;
      this.panelsNode.style.setProperty("--least", `${Math.min(230, width + 40)}px`);
      plot.make = () => specification(chart, panel, number, Math.max(180, plot.clientWidth));
      plot.panel = panel;
      watch(plot, this);
      node.append(plot);
    });
    return node;
  }

  draw(plot) {
    if (this.views.has(plot)) return;
    const runtime = vega.parse(vegaLite.compile(plot.make()).spec);
    const view = new vega.View(runtime, { renderer: "svg", logLevel: vega.Error }).tooltip(showTooltip).initialize(plot);
    this.views.set(plot, view);
    if (!plot.classList.contains("own")) this.listen(plot, view);
    view.run();
    plot.firstElementChild.setAttribute("aria-hidden", "true"); // the plot has a name, its figure a text and a table
    plot.style.minHeight = "";
    plot.dataset.drawn = plot.clientWidth;
  }

  listen(plot, view) {
    view.signal("hidden", this.hidden).signal("hot", hot).signal("hotSeed", hotSeed);
    if (layersOf(vegaLiteOf(this.chart, plot)).some(isDots)) {
      view.addSignalListener("near", (_, value) => highlight(value?.beta?.length ? Number(value.beta[0]) : null));
      view.addEventListener("click", (_, item) => this.openRuns(plot.panel, item));
    }
  }

  openRuns(panel, item) {
    let datum = item?.datum;
    if (datum?.datum) datum = datum.datum; // of a cell of the nearest dot
    if (panel.cell !== null && datum?.beta !== undefined) showRuns(this, panel, Number(datum.beta));
  }

  fillLegend(chart) {
    this.legendNode.replaceChildren(...legendsOf(chart).map((legend) => this.legendGroup(legend)));
  }

  legendGroup({ field, title, items }) {
    const group = element("span", { className: "legend-group", role: "group", "aria-label": title || "Legend" });
    if (title) group.append(element("span", { className: "soft", textContent: `${title} ` }));
    for (const item of items) {
      const button = element("button", { type: "button", "aria-pressed": "false", title: "Shows this alone; again: all" }, symbol(item), item.label);
      button.addEventListener("click", (event) => this.isolate(group, field, items, item, event.shiftKey || event.ctrlKey || event.metaKey));
      group.append(button);
    }
    return group;
  }

  // One value alone; with a modifier, one more; again, all.
  isolate(group, field, items, item, more) {
    const buttons = [...group.querySelectorAll("button")];
    const chosen = new Set(items.filter((_, place) => buttons[place].ariaPressed === "true"));
    if (!more) [...chosen].filter((each) => each !== item).forEach((each) => chosen.delete(each));
    if (!chosen.delete(item)) chosen.add(item);
    items.forEach((each, place) => buttons[place].setAttribute("aria-pressed", chosen.has(each)));
    const gone = chosen.size ? items.filter((each) => !chosen.has(each)).map((each) => `${field}=${each.value}`) : [];
    this.hidden = [...this.hidden.filter((each) => !each.startsWith(`${field}=`)), ...gone];
    for (const view of this.views.values()) view.signal("hidden", this.hidden).run();
  }

  // The rows behind the dots, or the longest rows of a chart without dots, with the name of their panel.
  numbers() {
    const chart = this.chart;
    if (chart.own) return [];
    return chart.panels.flatMap((panel) => panel.plots.flatMap(([template, ranges], number) => {
      const [block, first, end] = ranges[mainDataset(chart.templates[template], ranges)] ?? [0, 0, 0];
      return end > first && !(number && !hasDots(chart.templates[template]))
        ? records(chart.rows[block], first, end).map((row) => ({ panel: panel.title, ...row, cellNumber: panel.cell })) : [];
    }));
  }

  async saveSvg() {
    const chart = this.chart;
    const one = chart.own ?? composed(chart);
    const view = new vega.View(vega.parse(vegaLite.compile(one).spec), { renderer: "none" });
    save(`${study.name}-${this.key}.svg`, "image/svg+xml", await view.toSVG());
    view.finalize();
  }
}

const vegaLiteOf = (chart, plot) => chart.templates[plot.panel.plots[[...plot.parentElement.querySelectorAll(".plot")].indexOf(plot)][0]];
const hasDots = (plot) => layersOf(plot).some(isDots);

function mainDataset(plot, ranges) {
  const dots = layersOf(plot).find(isDots);
  const name = dots?.data?.name ?? plot.data?.name;
  if (name !== undefined) return Number(name);
  const sizes = ranges.map(([, first, end]) => end - first);
  return sizes.indexOf(Math.max(...sizes));
}

// The whole figure as one specification, with its legends, as the report's own files have it.
function composed(chart) {
  const datasets = {};
  const plotOf = ([template, ranges], title) => {
    const names = ranges.map(([block, first, end]) => {
      const name = `rows${block}_${first}_${end}`;
      datasets[name] ??= records(chart.rows[block], first, end);
      return name;
    });
    const named = ({ name, ...part }) => ({ ...part, ...(part.data && { data: { name: names[Number(part.data.name)] } }), ...(part.layer && { layer: part.layer.map(named) }) });
    return { ...named(chart.templates[template]), ...(title && { title: { text: title, anchor: "start", fontSize: 13 } }) };
  };
  const panels = chart.panels.map((panel) => {
    const plots = panel.plots.map((plot, number) => plotOf(plot, number ? "" : panel.title));
    return plots.length > 1 ? { vconcat: plots, spacing: 14 } : plots[0];
  });
  return { config: chart.config, datasets, concat: panels, columns: chart.columns, spacing: 18 };
}

function legendsOf(chart) {
  const legends = new Map(); // field -> { field, title, items }
  for (const layer of chart.templates.flatMap(layersOf)) {
    for (const channel of LEGENDS) {
      const used = layer.encoding?.[channel];
      if (!used?.field || used.legend === null || !used.scale?.domain || !used.scale.range) continue;
      const legend = legends.get(used.field) ?? { field: used.field, title: used.legend?.title ?? "", items: [] };
      legends.set(used.field, legend);
      used.scale.domain.forEach((value, place) => {
        let item = legend.items.find((each) => each.value === value);
        if (!item) legend.items.push((item = { value, label: String(value) }));
        item[channel === "stroke" || channel === "fill" ? "color" : channel] ??= used.scale.range[place % used.scale.range.length];
      });
    }
  }
  return [...legends.values()].filter((legend) => legend.items.length > 1);
}

const SHAPES = { square: "M7,3h8v8h-8z", "triangle-up": "M11,2l5,9h-10z", diamond: "M11,2l5,5l-5,5l-5,-5z" };

function symbol({ color = "currentColor", strokeDash, shape }) {
  const picture = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ width: 22, height: 14, "aria-hidden": "true", focusable: "false" })) picture.setAttribute(name, value);
  const draw = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    picture.append(made);
  };
  const paint = coloured(color);
  if (strokeDash || !shape) draw("line", { x1: 0, x2: 22, y1: 7, y2: 7, stroke: paint, "stroke-width": 2, "stroke-dasharray": strokeDash?.join(" ") ?? "" });
  if (!strokeDash && (!shape || !SHAPES[shape])) draw("circle", { cx: 11, cy: 7, r: 4, fill: paint });
  if (SHAPES[shape]) draw("path", { d: SHAPES[shape], fill: paint });
  return picture;
}

// --- what is in view is drawn ------------------------------------------------------------------------------------------

const visible = new Set();
const owner = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) visible.delete(target);
    else if (target.isConnected) {
      visible.add(target);
      draw(target);
      ringed(target);
    }
  }
  settled();
}, { rootMargin: "400px" });

function watch(plot, figure) {
  owner.set(plot, figure);
  observer.observe(plot);
}

function unwatch(plot) {
  observer.unobserve(plot);
  visible.delete(plot);
}

function draw(plot) {
  try {
    owner.get(plot).draw(plot);
  } catch (error) {
    root.dataset.charts = `failed: ${error.message}`;
    plot.textContent = "This chart could not be drawn.";
    throw error;
  }
}

function settled() {
  if (root.dataset.charts === "loading") root.dataset.charts = "ready";
}

function drawAll() {
  for (const figure of figures.values()) for (const plot of figure.panelsNode.querySelectorAll(".plot")) draw(plot);
}

function redrawAll() {
  for (const figure of figures.values()) figure.layOut();
}

function highlight(beta, seed = null) {
  if (beta === hot && seed === hotSeed) return;
  [hot, hotSeed] = [beta, seed];
  for (const plot of visible) ringed(plot);
}

function ringed(plot) { // a chart out of view is told when it comes into view
  const view = owner.get(plot).views.get(plot);
  if (!view || plot.classList.contains("own")) return;
  if (view.signal("hot") !== hot || view.signal("hotSeed") !== hotSeed) view.signal("hot", hot).signal("hotSeed", hotSeed).runAsync();
}

let resizing = 0;
new ResizeObserver(() => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    for (const figure of figures.values()) for (const [plot, view] of figure.views) {
      if (plot.classList.contains("own") || Math.abs(plot.clientWidth - plot.dataset.drawn) < 4) continue;
      plot.dataset.drawn = plot.clientWidth;
      view.width(Math.max(180, plot.clientWidth)).run();
    }
  }, 150);
}).observe(document.body);
dark.addEventListener("change", redrawAll);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details:not(.numbers)")) details.open = true;
  printing = true;
  if (dark.matches) redrawAll();
  drawAll();
});
addEventListener("afterprint", () => {
  printing = false;
  if (dark.matches) redrawAll();
});

// --- switches ----------------------------------------------------------------------------------------------------------

const switches = document.querySelector(".switches");

function switched() {
  return switches ? [...switches.querySelectorAll("input:checked")].map((input) => input.value).join(" ") : "";
}

switches?.addEventListener("change", () => {
  for (const figure of figures.values()) if (figure.node.querySelectorAll("script.spec").length > 1) figure.layOut();
});

// --- runs ----------------------------------------------------------------------------------------------------------------

const dialog = element("dialog", { className: "runs", "aria-labelledby": "runs-title" });
document.body.append(dialog);
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => highlight(null));

// The rows of `study.runs` of a cell of an experiment and a β.
function runsOf(experiment, cell, beta) {
  const part = study.experiments[experiment];
  if (!part || !study.runs) return null;
  const block = study.runs, wanted = part.cells[cell], rows = [];
  for (const [first, end] of part.runs) {
    for (let row = first; row < end; row++) {
      if (valueAt(block.cell, row) === wanted && valueAt(block.beta, row) === beta) rows.push(row);
    }
  }
  return rows.map((row) => records(block, row, row + 1)[0]);
}

const RUN_HEADS = { member_id: "member id", seed: "seed", outcome: "outcome", distortion_test: "D test", distortion_train: "D train", rate_test: "R test", rate_train: "R train", seconds: "seconds" };

function showRuns(figure, panel, beta) {
  const runs = runsOf(figure.experiment, panel.cell, beta);
  const title = element("h3", { id: "runs-title", textContent: `Runs at β = ${beta}: ${panel.title}` });
  const close = element("button", { type: "button", className: "close", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(element("header", {}, title, close), ...(runs ? runsBody(runs) : [element("p", { textContent: study.no_runs })]));
  dialog.showModal();
}

function runsBody(runs) {
  if (!runs.length) return [element("p", { textContent: "No run of this point is on the page." })];
  const names = Object.keys(RUN_HEADS).filter((name) => name in runs[0]);
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col", textContent: RUN_HEADS[name] })));
  const rows = runs.map((run) => {
    const row = element("tr", {}, ...names.map((name) => element("td", { className: typeof run[name] === "number" ? "n" : "", textContent: name === "seed" ? String(run[name]) : shown(run[name]) })));
    row.addEventListener("pointerenter", () => highlight(run.beta, run.seed));
    return row;
  });
  const commands = element("pre", { tabIndex: 0, textContent: runs.map((run) => `${study.retrain} ${run.member_id.replace(/^[AB]:/, "")}`).join("\n") });
  const table = element("table", {}, element("caption", { textContent: "In nats per image." }), element("thead", {}, head), element("tbody", {}, ...rows));
  const wrapped = element("div", { className: "table", tabIndex: 0, role: "region", "aria-label": "Runs" }, table);
  return [wrapped, element("p", { textContent: "Each of these commands trains one of them again and compares its numbers:" }), commands];
}

// --- numbers and files of a figure -----------------------------------------------------------------------------------------

function addTools(figure) {
  const numbers = element("details", { className: "numbers" }, element("summary", { textContent: "Numbers and runs" }));
  numbers.addEventListener("toggle", () => { if (numbers.open && numbers.children.length === 1) numbers.append(numbersTable(figure)); });
  const tools = element("p", { className: "tools" });
  const link = element("a", { href: `#${figure.node.id}`, textContent: "Link" });
  tools.append(link, tool("CSV", () => saveNumbers(figure)), tool("SVG", () => figure.saveSvg()));
  figure.node.append(tools);
  if (!figure.chart.own) figure.node.append(numbers);
}

function tool(name, act) {
  const button = element("button", { type: "button", textContent: name, title: `Save as ${name}` });
  button.addEventListener("click", act);
  return button;
}

const HIDDEN_COLUMNS = ["cellNumber", "beta_at"];

function columnsOf(rows) {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !HIDDEN_COLUMNS.includes(name));
}

function saveNumbers(figure) {
  const rows = figure.numbers(), heads = columnsOf(rows);
  save(`${study.name}-${figure.key}.csv`, "text/csv", csv(heads, rows.map((row) => heads.map((name) => row[name]))));
}

function numbersTable(figure) {
  const rows = figure.numbers(), heads = columnsOf(rows), lead = rows.some((row) => row.cellNumber !== null && row.beta !== undefined);
  const node = element("div", { className: "numbers-table" });
  const model = rows.map((row) => ({
    entries: heads.map((name) => ({ text: shown(row[name]), number: typeof row[name] === "number" ? row[name] : null })),
    act: lead ? () => showRuns(figure, { cell: row.cellNumber, title: row.panel }, Number(row.beta)) : null,
  }));
  const names = lead ? [...heads, "runs"] : heads;
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name === "runs" ? "runs" : element("button", { type: "button", textContent: name.replaceAll("_", " ") }))));
  const table = element("table", {}, element("thead", {}, head), element("tbody"));
  node.append(element("div", { className: "table tall", tabIndex: 0, role: "region", "aria-label": `Numbers of ${figure.title}` }, table));
  new Table(table, model);
  return node;
}

// --- tables ----------------------------------------------------------------------------------------------------------------

class Table {
  constructor(table, model = null) {
    [this.table, this.body] = [table, table.tBodies[0]];
    this.model = model ?? this.read();
    this.rows = this.model;
    this.most = ROWS_SHOWN;
    for (const button of table.querySelectorAll("th button")) button.addEventListener("click", () => this.sort(button.parentElement));
    const box = table.closest(".table");
    if (this.model.length > 10) box.before(this.filterNode());
    this.moreNode = element("button", { type: "button", className: "more" });
    this.moreNode.addEventListener("click", () => { this.most = Infinity; this.render(); });
    box.after(this.moreNode);
    if (model || this.model.length > ROWS_SHOWN) this.render(); else this.moreNode.hidden = true;
  }

  // What a table shows: rows of JSON beside it where it is long, else those of the page.
  read() {
    const json = this.table.parentElement.querySelector("script.rows");
    if (json) return JSON.parse(json.textContent).map((row) => ({ entries: row.map((entry) => Array.isArray(entry) ? { text: entry[0], number: entry[1] } : { text: entry, number: null }) }));
    return [...this.body.rows].map((row) => ({ node: row, entries: [...row.cells].map((cell) => ({ text: cell.textContent, number: cell.dataset.n === undefined ? null : Number(cell.dataset.n) })) }));
  }

  filterNode() {
    const count = element("span", { className: "soft", "aria-live": "polite" });
    const input = element("input", { type: "search", placeholder: "Filter rows", "aria-label": "Filter rows" });
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.rows = this.model.filter((row) => {
        const text = row.entries.map((entry) => entry.text).join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      });
      count.textContent = words.length ? ` ${this.rows.length} of ${this.model.length} rows` : "";
      this.order();
    });
    return element("p", { className: "filter" }, input, count);
  }

  sort(head) {
    this.sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    this.column = head.cellIndex;
    for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", this.sign === 1 ? "ascending" : "descending");
    this.order();
  }

  order() {
    if (this.column !== undefined) this.rows = [...this.rows].sort((a, b) => this.sign * compare(a.entries[this.column], b.entries[this.column]));
    this.render();
  }

  render() {
    this.body.replaceChildren(...this.rows.slice(0, this.most).map((row) => (row.node ??= rowNode(row))));
    this.moreNode.hidden = this.rows.length <= this.most;
    this.moreNode.textContent = `Show all ${this.rows.length.toLocaleString("en")} rows`;
  }

  csv() {
    const heads = [...this.table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    return csv(heads, this.model.map((row) => row.entries.map((entry) => entry.text)));
  }
}

const collator = new Intl.Collator(undefined, { numeric: true });

function compare(a, b) {
  if (a.number !== null && b.number !== null) return a.number - b.number;
  if (a.number !== null) return -1;
  return b.number !== null ? 1 : collator.compare(a.text, b.text);
}

function rowNode({ entries, act }) {
  const row = element("tr", {}, ...entries.map(({ text, number }) => element("td", { className: number !== null || text === "–" ? "n" : text.length > 40 ? "long" : "", textContent: text })));
  if (act) {
    const button = element("button", { type: "button", className: "runs-button", textContent: "runs" });
    button.addEventListener("click", act);
    row.append(element("td", {}, button));
  }
  return row;
}

// --- all of it -----------------------------------------------------------------------------------------------------------

const tables = new Map([...document.querySelectorAll("main .table > table")].filter((table) => table.tHead && table.tBodies.length).map((table) => [table.closest(".table").id, new Table(table)]));
for (const button of document.querySelectorAll("button[data-save-table]")) {
  button.addEventListener("click", () => save(`${study.name}-${button.dataset.saveTable}.csv`, "text/csv", tables.get(`table-${button.dataset.saveTable}`).csv()));
}
for (const button of document.querySelectorAll("button[data-save=runs]")) button.addEventListener("click", saveRuns);
for (const button of document.querySelectorAll("button[data-save=declaration]")) {
  button.addEventListener("click", () => save(`${study.name}-declaration.json`, "application/json", JSON.stringify(study.declaration, null, 1)));
}

// One row a run, with the settings of its cell.
function saveRuns() {
  const { cell, ...rest } = study.runs, names = Object.keys(rest), settings = Object.keys(study.cells);
  const rows = Array.from({ length: study.runs_count }, (_, row) => {
    const number = valueAt(cell, row);
    return [...names.map((name) => valueAt(rest[name], row)), ...settings.map((name) => valueAt(study.cells[name], number))];
  });
  save(`${study.name}-runs.csv`, "text/csv", csv([...names, ...settings], rows));
}

for (const node of document.querySelectorAll("figure.chart")) {
  const figure = new Figure(node);
  figures.set(node, figure);
  figure.layOut();
  addTools(figure);
}
if (!figures.size) settled();
