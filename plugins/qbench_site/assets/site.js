// What every page shares: embedded data, the theme, and colours for what is drawn in a canvas.
"use strict";

const qbench = (() => {
  const provided = {};

  /** Data of the page by its name: embedded in it, or from a script in `data/`. */
  function data(name) {
    if (!(name in provided)) {
      const element = [...document.querySelectorAll('script[type="application/json"]')]
        .find((one) => one.dataset.name === name);
      if (!element) throw new Error(`no data named ${name}`);
      provided[name] = JSON.parse(element.textContent);
    }
    return provided[name];
  }

  /** Called by the scripts in `data/`. */
  function provide(name, value) { provided[name] = value; }

  /** A custom property of the style sheet, such as `--ink`, in the present theme. */
  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  /** An element with attributes and children; text is never read as HTML. */
  function element(tag, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "title"].includes(tag)
      && tag !== "title" || attributes.svg;
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name !== "svg" && value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  /** Calls back whenever the theme changes, so that canvases can be drawn again. */
  function onTheme(callback) {
    document.addEventListener("qbench-theme", callback);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
  }

  const button = document.querySelector("button.theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("qbench-theme", next); } catch { /* nothing is kept */ }
    document.dispatchEvent(new Event("qbench-theme"));
  });

  return { data, provide, colour, element, dark, onTheme };
})();
