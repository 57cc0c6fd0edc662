// The search page: BOOK, made by finder.py, is searched by MiniSearch; hits stand by page, in sections.

const results = document.getElementById("search-results");
const box = document.querySelector("#search-results").parentElement.querySelector("input[name=q]");
const said = document.createElement("p");
said.setAttribute("role", "status");
results.before(said);

// A word as it is written, less the marks around it, and its parts: 80/10/10 is 80/10/10, 80 and 10.
const plain = word => word.toLowerCase().replace(/^[("'“‘,.:;!?*]+|[)"'”’,.:;!?*]+$/g, "");
const parts = word => word.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
const words = text => text.split(/\s+/).map(plain).filter(Boolean);
const terms = text => words(text).flatMap(word => [...new Set([word, ...parts(word)])]);

const search = new MiniSearch({
  fields: ["title", "page", "text", "code"],
  tokenize: terms,
  processTerm: term => term,
});
const places = [];
BOOK.pages.forEach(([url, page, kind, sections], order) => sections.forEach(([anchor, title, text, code], n) => {
  places.push({id: places.length, url, page, kind, order, anchor, title, text, code, first: n == 0});
}));
search.addAll(places.map(place => ({...place, page: place.first ? place.page : ""})));

const WEIGHT = {chapters: 1, book: 0.5, api: 0.2};

function find(query) {
  const options = {
    boost: {title: 4, page: 6, text: 1, code: 0.2},
    prefix: term => term.length > 3 && /^\p{L}+$/u.test(term),
    fuzzy: false,
    combineWith: "AND",
    tokenize: words,
    boostDocument: id => WEIGHT[places[id].kind],
  };
  const also = words(query).map(word => BOOK.also[word] ?? word).join(" ");
  const queries = [query, ...(also == query.toLowerCase() ? [] : [also])];
  const asked = {combineWith: "OR", queries: queries.map(q => ({...options, queries: [q]}))};
  let hits = search.search(asked);
  if (!hits.length) hits = search.search(query, {...options, fuzzy: 0.2, tokenize: text => words(text).flatMap(parts)});
  const pages = new Map();
  for (const hit of hits) {
    const place = places[hit.id];
    if (!pages.has(place.url)) pages.set(place.url, {...place, hits: [], score: 0});
    const page = pages.get(place.url);
    page.hits.push({...place, terms: hit.terms});
    if (page.hits.length <= 3) page.score += hit.score;
  }
  const last = page => page.kind == "api";
  return [...pages.values()].sort((a, b) => last(a) - last(b) || b.score - a.score || a.order - b.order);
}

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function snippet({text, terms}) {
  const lower = text.toLowerCase();
  const at = Math.max(0, ...terms.slice(0, 1).map(term => lower.indexOf(term)));
  const start = at < 60 ? 0 : text.indexOf(" ", at - 60) + 1;
  const end = start + 180 < text.length ? text.lastIndexOf(" ", start + 180) : text.length;
  const cut = text.slice(start, end);
  const marked = new RegExp(`(${terms.map(term => term.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|")})`, "iu");
  const pieces = cut.split(marked).map((piece, i) => i % 2 ? element("mark", piece) : piece);
  return element("p", [start ? "… " : "", ...pieces, end < text.length ? " …" : ""]);
}

function show(query) {
  results.replaceChildren();
  said.dataset.asked = query;
  if (!query.trim()) { said.textContent = ""; return; }
  const pages = find(query);
  const count = pages.reduce((sum, page) => sum + page.hits.length, 0);
  said.textContent = count
    ? `${count} place${count > 1 ? "s" : ""} on ${pages.length} page${pages.length > 1 ? "s" : ""}.`
    : `Nothing was found for ${query}.`;
  for (const page of pages) {
    const list = element("ul", page.hits.slice(0, 4).map(hit => {
      const href = hit.first ? hit.url : `${hit.url}#${hit.anchor}`;
      return element("li", [element("a", hit.first ? "The whole page" : hit.title, {href}), snippet(hit)]);
    }));
    results.append(element("section", [element("h2", element("a", page.page, {href: page.url})), list]));
  }
}

let later;
box.addEventListener("input", () => { clearTimeout(later); later = setTimeout(() => show(box.value), 150); });
box.form.addEventListener("submit", event => { event.preventDefault(); show(box.value); });
box.value = new URLSearchParams(location.search).get("q") ?? "";
show(box.value);
