// The busy page comes back by itself, each copy at a moment of its own: a crowd that was turned away must not
// return as one. Should this file not arrive either, the page's own slow refresh is still there.

const SOONEST_MS = 6_000;
const SPREAD_MS = 12_000;

const wait = SOONEST_MS + Math.random() * SPREAD_MS;
const due = performance.now() + wait;
const left = document.getElementById("left");

const timer = setInterval(() => {
  const ms = due - performance.now();
  left.textContent = `Trying again in ${Math.max(1, Math.ceil(ms / 1000))} s.`;
  if (ms > 0 || document.hidden) return;
  clearInterval(timer);
  location.reload();
}, 500);
