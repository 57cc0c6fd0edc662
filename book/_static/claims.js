// A box that filters the list of claims. Without this script the page is the whole list.
const total = document.querySelector("p.total");
const chapters = [...document.querySelectorAll("section[id^='chapter-']")];
const all = document.querySelectorAll("ul.claims > li").length;
const said = total.textContent;

const label = document.createElement("label");
label.className = "claims-filter";
label.textContent = "Show the claims that say ";
const box = document.createElement("input");
box.type = "search";
box.className = "form-control";
label.append(box);
total.before(label);
total.setAttribute("aria-live", "polite");

box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const chapter of chapters) {
    const items = [...chapter.querySelectorAll("ul.claims > li")];
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
    }
    const left = items.filter((item) => !item.hidden).length;
    chapter.hidden = left === 0;
    shown += left;
  }
  total.textContent = words.length ? `${shown} of ${all} claims.` : said;
});
