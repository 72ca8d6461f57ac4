// The heat map: one attack at a time, and words for the square under the pointer or the focus.
"use strict";

(() => {
  const form = document.querySelector(".controls"), told = document.getElementById("told");
  const choice = document.getElementById("attack");
  const sections = [...document.querySelectorAll(".matrix")];
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  const show = () => sections.forEach((one) => { one.hidden = one.dataset.place !== choice.value; });
  choice.addEventListener("input", show);
  show();

  function tell(cell) {
    const table = cell.closest("table"), row = cell.parentNode;
    for (const one of table.querySelectorAll(".here")) one.classList.remove("here");
    const column = table.tHead.rows[0].cells[cell.cellIndex], source = row.cells[0];
    for (const one of [cell, column, source]) one.classList.add("here");
    const value = cell.textContent.startsWith(".") ? `0${cell.textContent}` : cell.textContent;
    const [made, shown] = [source.textContent.trim(), column.textContent.trim()];
    told.textContent = made === shown ? `Attacked itself, ${made} keeps an accuracy of ${value}.`
      : `On images made for ${made}, ${shown} keeps an accuracy of ${value}.`;
  }

  for (const table of document.querySelectorAll(".heat")) {
    const cells = (row, column) => table.tBodies[0].rows[row]?.cells[column];
    const first = cells(0, 1);
    if (first) first.tabIndex = 0;
    table.addEventListener("pointerover", (event) => {
      const cell = event.target.closest("tbody td");
      if (cell) tell(cell);
    });
    table.addEventListener("focusin", (event) => {
      if (event.target.matches("tbody td")) tell(event.target);
    });
    table.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      const from = event.target.closest("tbody td");
      if (!step || !from) return;
      const next = cells(from.parentNode.sectionRowIndex + step[0], from.cellIndex + step[1]);
      if (next?.tagName !== "TD") return;
      event.preventDefault();
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
})();
