// A formula that is wider than the page scrolls; only then does it need a stop of the Tab key.
new ResizeObserver(() => document.querySelectorAll("div.math").forEach(formula => {
  if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  else formula.removeAttribute("tabindex");
})).observe(document.body);
