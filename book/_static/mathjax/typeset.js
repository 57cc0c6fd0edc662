// Draws the formulas of a page when it has been read: what mathjax.js is bundled from (see ORIGIN.txt).
import {mathjax} from 'mathjax-full/ts/mathjax.ts';
import {TeX} from 'mathjax-full/ts/input/tex.ts';
import {CHTML} from 'mathjax-full/ts/output/chtml.ts';
import {browserAdaptor} from 'mathjax-full/ts/adaptors/browserAdaptor.ts';
import {RegisterHTMLHandler} from 'mathjax-full/ts/handlers/html.ts';
import {AssistiveMmlHandler} from 'mathjax-full/ts/a11y/assistive-mml.ts';
import 'mathjax-full/ts/input/tex/base/BaseConfiguration.ts';
import 'mathjax-full/ts/input/tex/ams/AmsConfiguration.ts';
import 'mathjax-full/ts/input/tex/boldsymbol/BoldsymbolConfiguration.ts';

const fontURL = new URL('woff-v2', document.currentScript.src).href;
AssistiveMmlHandler(RegisterHTMLHandler(browserAdaptor()));
addEventListener('DOMContentLoaded', () => {
  mathjax.document(document, {
    ...window.MathJax?.options,                  // which elements hold formulas, said by MyST
    InputJax: new TeX({packages: ['base', 'ams', 'boldsymbol']}),
    OutputJax: new CHTML({fontURL}),
  }).render();
  // A formula wider than the screen scrolls; it has to be reachable by Tab to scroll without a mouse.
  new ResizeObserver(() => document.querySelectorAll('mjx-container').forEach(formula => {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute('tabindex');
  })).observe(document.body);
});
