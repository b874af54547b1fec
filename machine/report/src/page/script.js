'use strict';
const root = document.documentElement;
addEventListener('error', e => { root.dataset.error = e.message; });
// Lines of one region that belong to the same guest instruction carry the same data-g.
let lit = [];
function light(line, scroll) {
  for (const old of lit) old.classList.remove('on', 'at');
  lit = [];
  if (!line) return;
  const panes = line.closest('.panes');
  lit = [...panes.querySelectorAll('[data-g="' + line.dataset.g + '"]')];
  for (const one of lit) one.classList.add('on');
  line.classList.add('at');
  if (!scroll) return;
  for (const pane of panes.querySelectorAll('pre')) {
    const first = pane.contains(line) ? line : pane.querySelector('.on');
    if (first) pane.scrollTop = first.offsetTop - pane.clientHeight / 3;
  }
}
let pinned = null;
function target(e) { return e.target.closest ? e.target.closest('.pane span[data-g]') : null; }
addEventListener('mouseover', e => { const l = target(e); if (l) light(l, false); else if (lit.length) light(pinned, false); });
addEventListener('click', e => { const l = target(e); if (l) { pinned = l; light(l, true); } });
addEventListener('keydown', e => {
  const pane = e.target.closest ? e.target.closest('.pane pre') : null;
  if (!pane) return;
  if (e.key === 'Escape') { pinned = null; light(null, false); return; }
  const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
  if (!step) return;
  const lines = [...pane.querySelectorAll('span[data-g]')];
  if (!lines.length) return;
  const at = pinned && pane.contains(pinned) ? lines.indexOf(pinned) : -1;
  const next = at < 0 ? Math.max(0, lines.findIndex(l => l.classList.contains('on')))
    : Math.min(lines.length - 1, Math.max(0, at + step));
  pinned = lines[next];
  light(pinned, true);
  e.preventDefault();
});
// A link to a region opens it.
function open() {
  const named = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
  if (named && named.tagName === 'DETAILS') { named.open = true; named.scrollIntoView(); }
}
addEventListener('hashchange', open);
open();
// How many guest instructions are joined in at least two panes, for all regions: tests read it.
let joined = 0;
for (const panes of document.querySelectorAll('.panes')) {
  const seen = new Map();
  [...panes.querySelectorAll('.pane')].forEach((pane, n) => {
    for (const line of pane.querySelectorAll('[data-g]')) {
      if (!seen.has(line.dataset.g)) seen.set(line.dataset.g, new Set());
      seen.get(line.dataset.g).add(n);
    }
  });
  for (const set of seen.values()) if (set.size > 1) joined += 1;
}
root.dataset.joined = joined;
if (location.hash === '#selftest') {
  const details = document.querySelector('details:has(.panes)');
  if (details) {
    details.open = true;
    const pane = details.querySelector('.pane pre');
    const line = details.querySelector('.pane span[data-g]');
    line.click();
    root.dataset.clicked = new Set(lit.map(l => l.closest('.pane'))).size;
    pane.focus();
    pane.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }));
    root.dataset.stepped = pinned !== line || lit.length > 0 ? 'yes' : 'no';
  }
}
root.dataset.ready = 'yes';
