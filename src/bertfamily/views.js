// The attention viewer. It runs in a frame of its own; views.py defines `data` above it:
// queries, keys (token strings), layers, heads, rank, layer, head, query (-1: none), weights (base64).
const CSS = `
:root{--fg:#1b1f24;--mute:#57606a;--bg:#fff;--rule:#d0d7de;--accent:#1a5fd0;color-scheme:light}
:root[data-theme=dark]{--fg:#e6e8eb;--mute:#a8b0ba;--bg:#121212;--rule:#3d4650;--accent:#7fb0ff;color-scheme:dark}
*{box-sizing:border-box}
body{margin:0;padding:12px;background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif}
p{margin:0 0 12px}.mute,th{color:var(--mute);font-weight:400;font-size:12px}
:focus-visible{outline:3px solid var(--accent);outline-offset:1px}
.say{min-height:2.9em;font-size:15px}.both{display:flex;flex-wrap:wrap;gap:16px 28px;align-items:flex-start}
.heads{max-width:100%;min-width:0}.scroll{overflow:auto;padding:4px}
.heads table{border-spacing:2px}.heads th{min-width:16px;padding:0}
.heads td{padding:0;border-radius:3px;cursor:pointer;line-height:0}
.heads td[aria-selected=true]{position:relative;box-shadow:0 0 0 2px var(--fg)}
canvas{border-radius:2px;background:rgba(128,148,180,.16);image-rendering:pixelated}
.map{flex:1 1 260px;min-width:0;max-width:540px;max-height:660px;position:relative}
.cols{display:grid;grid-template-columns:minmax(0,max-content) minmax(56px,1fr) minmax(0,max-content)}
.cols svg{width:100%}.list{display:grid;grid-auto-rows:26px;align-content:start;min-width:0}
.t{overflow:hidden;text-overflow:ellipsis;white-space:pre;line-height:24px;min-height:24px;padding:0 6px;margin:1px 0;border-radius:4px}
[role=option]{text-align:right;cursor:pointer}[role=option][aria-selected=true]{background:var(--accent);color:var(--bg)}
.key{display:grid;grid-template-columns:minmax(0,1fr) 2.2em;column-gap:8px;align-items:center}.key b{font-weight:400;text-align:right}
.key b,details td{font-variant-numeric:tabular-nums}
line{stroke:var(--accent);vector-effect:non-scaling-stroke;stroke-linecap:round}
details{margin-top:12px}summary{cursor:pointer;width:max-content;line-height:24px}
details .scroll{max-height:400px}details table{border-collapse:collapse}
details th,details td{padding:2px 8px;border-bottom:1px solid var(--rule);text-align:right;white-space:pre}
@media(forced-colors:active){[aria-selected=true]{outline:2px solid Highlight}}
@media(max-width:400px){.say{min-height:4.4em}.heads table{border-spacing:1px}}`;

const { queries, keys, layers, heads, rank } = data;
let { layer, head, query: pinned } = data, hovered = -1;
// One unsigned 16-bit number a weight: its high bits are the weight in hundredths, as Python rounds
// it; the low nine say where it lies within that hundredth.
const codes = new Uint16Array(Uint8Array.from(atob(data.weights), c => c.charCodeAt(0)).buffer);
const code = (l, h, i, j) => codes[((l * heads + h) * queries.length + i) * keys.length + j];
const weight = c => Math.max(0, c / 512 - 0.5) / 100;
const digits = c => ((c >> 9) / 100).toFixed(2);

function add(parent, tag, attributes = {}, text = "") {
  const space = /^(svg|line)$/.test(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.textContent = text;                       // never innerHTML: a token may be <s>
  return parent.appendChild(node);
}
const clamp = (x, n) => Math.min(n - 1, Math.max(0, x));

add(document.head, "style", {}, CSS);
const say = add(document.body, "p", { class: "say", "aria-live": "polite", "aria-atomic": "true" });
const both = add(document.body, "div", { class: "both" });

// The small maps, one a head.
const cells = [];
if (layers * heads > 1) {
  const box = add(both, "div", { class: "heads" }), side = Math.max(24, Math.min(56, Math.floor(300 / heads)));
  add(box, "p", { class: "mute", id: "maps", style: "margin:0" }, rank === 4 ? "One map a head: rows are layers, columns are heads" : "One map a head");
  const grid = add(add(box, "div", { class: "scroll" }), "table", { role: "grid", "aria-labelledby": "maps" });
  const top = add(grid, "tr");
  if (rank === 4) add(top, "td");
  for (let h = 0; h < heads; h++) add(top, "th", { scope: "col" }, h + 1);
  for (let l = 0; l < layers; l++) {
    const row = add(grid, "tr");
    if (rank === 4) add(row, "th", { scope: "row" }, l + 1);
    for (let h = 0; h < heads; h++) {
      const cell = add(row, "td", { role: "gridcell", "aria-label": (rank === 4 ? `layer ${l + 1}, ` : "") + `head ${h + 1}` });
      const canvas = add(cell, "canvas", { width: keys.length, height: queries.length, style: `width:${side}px;height:${side}px`, "aria-hidden": "true" });
      const pen = canvas.getContext("2d"), image = pen.createImageData(keys.length, queries.length);
      queries.forEach((_, i) => keys.forEach((_, j) =>   // the root makes weak weights visible
        image.data.set([47, 123, 255, 255 * Math.sqrt(weight(code(l, h, i, j)))], 4 * (i * keys.length + j))));
      pen.putImageData(image, 0, 0);
      cell.onclick = () => choose(l, h);
      cells.push(cell);
    }
  }
  grid.onkeydown = event => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(clamp(layer + step[0], layers), clamp(head + step[1], heads));
  };
}

// The chosen map: queries on the left, keys on the right, a line for each weight.
const map = add(both, "div", { class: "map scroll" }), cols = add(map, "div", { class: "cols" });
add(cols, "span", { class: "mute t", style: "text-align:right" }, "query"); add(cols, "span"); add(cols, "span", { class: "mute t" }, "key");
const left = add(cols, "div", { class: "list", role: "listbox", "aria-label": "Queries: the tokens that look" });
const height = 26 * Math.max(queries.length, keys.length);
const lines = add(cols, "svg", { viewBox: `0 0 100 ${height}`, height, preserveAspectRatio: "none", "aria-hidden": "true" });
const right = add(cols, "div", { class: "list", role: "list", "aria-label": "Keys: the tokens that are looked at" });
const options = queries.map((token, i) => {
  const option = add(left, "div", { class: "t", role: "option", dir: "auto", style: "text-align:right", title: token }, token);
  option.onmouseenter = () => { hovered = i; draw(); };
  option.onclick = option.onfocus = () => pin(i);
  return option;
});
const items = keys.map(token => {
  const item = add(right, "div", { class: "t key", role: "listitem", title: token });
  add(item, "span", { class: "t", dir: "auto", style: "padding:0;margin:0;text-align:left" }, token);
  return [item, add(item, "b")];
});
left.onmouseleave = () => { hovered = -1; draw(); };
left.onkeydown = event => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  pin(clamp(options.indexOf(event.target) + step, queries.length));
  options[pinned].focus();
};
lines.onclick = () => pin(-1);
document.onkeydown = event => { if (event.key === "Escape") pin(-1); };

const details = add(document.body, "details");
add(details, "summary", {}, "Weights as a table");
const sheet = add(details, "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Weights as a table" });
details.ontoggle = tabulate;                     // 512 × 512 cells take seconds, so not before they are asked for

function pin(i) { pinned = i; hovered = -1; draw(); }   // a resting mouse gives way to the keyboard
function choose(l, h) { layer = l; head = h; draw(); tabulate(); cells[l * heads + h].focus(); }

function draw() {
  const query = hovered < 0 ? pinned : hovered, at = (i, j) => code(layer, head, i, j);
  cells.forEach((cell, n) => { const on = n === layer * heads + head; cell.setAttribute("aria-selected", on); cell.tabIndex = on ? 0 : -1; });
  options.forEach((option, i) => { option.setAttribute("aria-selected", i === query); option.tabIndex = i === Math.max(pinned, 0) ? 0 : -1; });
  items.forEach(([item, number], j) => {
    item.style.background = query < 0 ? "" : `rgba(47,123,255,${(weight(at(query, j)) * 0.35).toFixed(3)})`;
    number.textContent = query < 0 ? "" : digits(at(query, j));
  });
  lines.replaceChildren();
  queries.forEach((_, i) => (query < 0 || i === query) && keys.forEach((_, j) => {
    const w = weight(at(i, j));
    if (w > 0.01) add(lines, "line", { x1: 2, y1: 26 * i + 13, x2: 98, y2: 26 * j + 13, "stroke-width": (0.5 + 3.5 * w).toFixed(2), "stroke-opacity": (query < 0 ? w : Math.sqrt(w)).toFixed(3) });
  }));
  const where = rank === 4 ? `Layer ${layer + 1}, head ${head + 1} (weights[${layer}, ${head}]). ` : rank === 3 ? `Head ${head + 1} (weights[${head}]). ` : "";
  say.replaceChildren(where, ...sentence(query, at));
}

function name(tokens, i) {                       // isolated, so that Arabic does not turn the number after it around
  const isolated = document.createElement("bdi"), once = tokens.indexOf(tokens[i]) === tokens.lastIndexOf(tokens[i]);
  isolated.textContent = `“${tokens[i]}”` + (once ? "" : ` #${i}`);
  return isolated;
}

function sentence(query, at) {
  if (query < 0) return ["Choose a token on the left to see where it looks. Arrow keys move, Escape clears."];
  const most = [...keys.keys()].sort((a, b) => at(query, b) - at(query, a)).slice(0, 3);
  const seen = most.filter((j, n) => digits(at(query, j)) > 0 || (n === 0 && weight(at(query, j)) > 0));
  const links = seen.flatMap((j, n) => [n ? ", " : "", name(keys, j), ` (${digits(at(query, j))})`]);
  return [name(queries, query), " looks at ", ...(links.length ? links : ["no token"]), "."];
}

function tabulate() {
  sheet.replaceChildren();
  if (!details.open) return;
  const table = add(sheet, "table"), top = add(table, "tr");
  add(top, "td", { class: "mute" }, "query \\ key");
  keys.forEach(token => add(top, "th", { scope: "col", dir: "auto" }, token));
  queries.forEach((token, i) => {
    const row = add(table, "tr");
    add(row, "th", { scope: "row", dir: "auto" }, token);
    keys.forEach((_, j) => add(row, "td", {}, digits(code(layer, head, i, j))));
  });
}

draw();

// Follow the page around the frame: its theme (the book, JupyterLab, Colab, VS Code), our height, the picture that we replace.
const prefers = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  let told = "";
  try {
    const { documentElement: root, body } = parent.document, lab = { true: "light", false: "dark" }[body.dataset.jpThemeLight];
    const [, code] = body.className.match(/vscode-(high-contrast-light|high-contrast|light|dark)/) || [];
    told = root.dataset.theme || root.getAttribute("theme") || lab || code || "";
  } catch {}                                     // a page of another origin: only the system's wish is known
  const dark = /^(dark|high-contrast)$/.test(told) || (!/light/.test(told) && prefers.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
theme();
prefers.onchange = theme;
try {
  const frame = frameElement, { documentElement: root, body } = parent.document;
  for (const node of [root, body]) new MutationObserver(theme).observe(node, { attributes: true });
  frame.previousElementSibling.style.display = "none";
  frame.closest(".text_html")?.setAttribute("style", "background:none!important;padding:0!important"); // the book's light box
  new ResizeObserver(() => { frame.style.height = document.documentElement.offsetHeight + 2 + "px"; }).observe(document.body);
} catch {}
