// Sorting: a button in every column's head. Rows stay in their group, missing numbers come last.

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = make("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sortBy(table, heads, place));
    head.replaceChildren(button);
  });
}

function sortBy(table, heads, place) {
  const head = heads[place];
  const order = nextOrder(head);
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const [title, ...rows] = body.rows;
    const keyed = rows.map((row) => [sortKey(row.cells[place], "text" in head.dataset), row]);
    keyed.sort(([a], [b]) => compareKeys(a, b, sign));
    body.replaceChildren(title, ...keyed.map(([, row]) => row));
  }
}

function nextOrder(head) {
  const natural = "largeFirst" in head.dataset ? "descending" : "ascending";
  const other = natural === "ascending" ? "descending" : "ascending";
  return head.getAttribute("aria-sort") === natural ? other : natural;
}

function sortKey(cell, isText) {
  if (isText) {
    return cell.textContent;
  }
  return cell.dataset.n === undefined ? null : Number(cell.dataset.n);
}

function compareKeys(a, b, sign) {
  if (a === null || b === null) {
    return Number(a === null) - Number(b === null);
  }
  return sign * (Number(a > b) - Number(a < b));
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
