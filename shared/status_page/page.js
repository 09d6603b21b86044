"use strict";
// What the page does by itself: it tells when it has become old, and searches its list of unprotected blobs.
(() => {
  const verdict = document.getElementById("verdict");
  const oldest = 26 * 3600 * 1000;
  const age = Date.now() - Date.parse(verdict.dataset.asOf);
  if (age > oldest) {
    const stale = document.getElementById("stale");
    document.getElementById("stale-hours").textContent = String(Math.floor(age / 3600000));
    stale.hidden = false;
    if (verdict.dataset.verdict === "protected") {
      verdict.dataset.verdict = "unknown";
      document.getElementById("verdict-word").textContent = "unknown";
      document.getElementById("verdict-sign").textContent = "?";
      document.title = "unknown: Snapkeep status";
    }
  }

  const search = document.getElementById("search");
  if (search === null) {
    return;
  }
  const rows = Array.from(document.querySelectorAll("#unprotected tbody tr"));
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const found = document.getElementById("found");
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, number) => {
      row.hidden = !texts[number].includes(wanted);
      shown += row.hidden ? 0 : 1;
    });
    found.textContent = wanted === "" ? "" : shown + " of " + rows.length + " shown";
  };
  search.addEventListener("input", show);
  document.getElementById("search-form").hidden = false;
  show();
})();
