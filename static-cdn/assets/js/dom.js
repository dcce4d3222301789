// Building elements. Text always goes in as text: nothing from the server is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** `props` are properties where the element has them, attributes otherwise; `on…` are listeners. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Changes the text only if it differs, so that no screen reader reads the same twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Drawn on a 24 × 24 grid, all with the same stroke.
const ICONS = {
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-14v5l3.5 2",
  bolt: "M13 2 5 13.5h6L10 22l9-12h-6.5L13 2Z",
  pause: "M8.5 5v14M15.5 5v14",
  bag: "M5 8h14l1 13H4L5 8Zm3.5 3V7a3.5 3.5 0 0 1 7 0v4",
  flag: "M6 21V4m0 0c4-2.5 7 2.5 12 0v9c-5 2.5-8-2.5-12 0",
  ticket: "M4 7h16v3.5a1.5 1.5 0 0 0 0 3V17H4v-3.5a1.5 1.5 0 0 0 0-3V7Zm10 1.5v7",
  check: "M4.5 12.5 10 18 19.5 7",
  cross: "M6 6l12 12M18 6 6 18",
  back: "M9 7 4.5 11.5 9 16M5 11.5h9a5 5 0 0 1 0 10h-2",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-8 9c.7-4.4 3.6-6.5 8-6.5s7.3 2.1 8 6.5",
  crowd: "M9 11.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4Zm-6.5 8c.5-3.6 2.9-5.3 6.5-5.3s6 1.7 6.5 5.3M15.5 5.4a3.1 3.1 0 0 1 0 5.8m2.2 3.6c2.2.6 3.5 2.1 3.8 4.7",
  slow: "M5 3h14M5 21h14M7 3c0 5 10 6 10 9s-10 4-10 9M17 3c0 5-10 6-10 9s10 4 10 9",
  offline: "M3 3l18 18M8 8.8A10 10 0 0 0 3.5 11.5M12.5 8a10 10 0 0 1 8 3.5M7 15.2a6.5 6.5 0 0 1 4-2m3.5.6a6 6 0 0 1 2.5 1.4M12 19.5h.01",
  shield: "M12 3l7.5 2.5V12c0 4.5-3 7.3-7.5 9-4.5-1.7-7.5-4.5-7.5-9V5.5L12 3Zm-3.5 9 2.5 2.5 4.5-4.5",
};

export function icon(name, drawing = ICONS[name] ?? ICONS.bag) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", drawing);
  svg.append(path);
  return svg;
}
