// The choice of light or dark, before anything is drawn. Some browsers keep nothing for files.
"use strict";
try {
  const chosen = localStorage.getItem("qbench-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* private windows have no storage */ }
