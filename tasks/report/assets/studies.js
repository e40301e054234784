/* The list of studies: filtered, sorted, fifty rows at a time. Rows come from rows.js; text is only ever set as text. */
"use strict";
(function () {
  var table = window.STUDY_TABLE;
  if (!table) return;
  var PAGE = 50;
  var body = document.querySelector("#studies tbody");
  var heads = document.querySelectorAll("#studies th");
  var search = document.getElementById("search");
  var state = document.getElementById("state");
  var reason = document.getElementById("reason");
  var counted = document.getElementById("counted");
  var column = 0, ascending = true, page = 0, shown = [];

  function option(select, value) {
    var item = document.createElement("option");
    item.value = item.textContent = value;
    select.appendChild(item);
  }

  function values(index, apart) {
    var seen = {};
    table.rows.forEach(function (row) { (apart ? String(row[index]).split(" ") : [String(row[index])]).forEach(function (v) { if (v) seen[v] = true; }); });
    return Object.keys(seen).sort();
  }

  function matches(row) {
    var text = search.value.trim().toLowerCase();
    if (state.value && row[table.state] !== state.value) return false;
    if (reason.value && String(row[table.reason]).split(" ").indexOf(reason.value) < 0) return false;
    return !text || String(row[0]).toLowerCase().indexOf(text) >= 0;
  }

  function compare(a, b) {
    var x = a[column], y = b[column];
    if (x === null || x === "") return y === null || y === "" ? 0 : 1;   /* what is missing comes last, either way */
    if (y === null || y === "") return -1;
    var order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return ascending ? order : -order;
  }

  function cell(row, index) {
    var td = document.createElement("td"), value = row[index];
    if (table.columns[index].number) td.className = "number";
    if (index === 0 && row[table.page]) {
      var link = document.createElement("a");
      link.href = row[table.page];
      link.textContent = value;
      td.appendChild(link);
    } else if (index === table.state && value) {
      var badge = document.createElement("span");
      badge.className = "state state-" + String(value).replace(/[^a-z]/g, "_");
      badge.textContent = value;
      td.appendChild(badge);
    } else {
      td.textContent = value === null ? "–" : table.columns[index].digits === undefined ? value : Number(value).toFixed(table.columns[index].digits);
    }
    return td;
  }

  function draw() {
    var pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(page, pages - 1);
    body.textContent = "";
    shown.slice(page * PAGE, (page + 1) * PAGE).forEach(function (row) {
      var tr = document.createElement("tr");
      table.columns.forEach(function (_, index) { tr.appendChild(cell(row, index)); });
      body.appendChild(tr);
    });
    counted.textContent = shown.length + " of " + table.rows.length + " studies · page " + (page + 1) + " of " + pages;
    document.getElementById("previous").disabled = page === 0;
    document.getElementById("next").disabled = page >= pages - 1;
  }

  function refresh() { shown = table.rows.filter(matches).sort(compare); page = 0; draw(); }

  heads.forEach(function (head, index) {
    head.addEventListener("click", function () {
      ascending = column === index ? !ascending : true;
      column = index;
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      refresh();
    });
  });
  values(table.state).forEach(function (value) { option(state, value); });
  values(table.reason, true).forEach(function (value) { option(reason, value); });
  [search, state, reason].forEach(function (field) { field.addEventListener("input", refresh); });
  document.getElementById("previous").addEventListener("click", function () { page -= 1; draw(); });
  document.getElementById("next").addEventListener("click", function () { page += 1; draw(); });
  refresh();
})();
