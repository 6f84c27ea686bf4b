"use strict";
const box = document.getElementById("search");
const found = document.getElementById("found");
const rows = Array.from(document.querySelectorAll(".row"), (row) => [row, row.textContent.toLowerCase()]);
function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, text] of rows) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  found.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
}
function fromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)).get("q");
  if (asked !== null) {
    box.value = asked;
    search();
  }
}
box.addEventListener("input", search);
addEventListener("hashchange", fromAddress);
fromAddress();
