// Rows and columns: those that matter first, all of them on demand; bars below shares.

const allColumns = document.getElementById("all-columns");
const strategyPart = document.getElementById("filter-strategy");
const strategyRows = [...document.querySelectorAll(".sortable tbody tr:not(.group)")];

function chooseColumns() {
  document.body.classList.toggle("few-columns", !allColumns.checked);
}

function chooseRows() {
  const part = strategyPart.value.trim().toLowerCase();
  for (const row of strategyRows) {
    const name = row.querySelector("[scope='row']").textContent;
    row.hidden = !name.toLowerCase().includes(part);
  }
}

function drawBars(table) {
  const place = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === "Avg.Acc");
  const rows = place < 0 ? [] : table.querySelectorAll("tbody tr:not(.group)");
  for (const row of rows) {
    const cell = row.cells[place];
    if (cell.dataset.n !== undefined) {
      cell.classList.add("bar");
      cell.style.backgroundSize = `${100 * Number(cell.dataset.n)}% 0.1875rem`;
    }
  }
}

allColumns.addEventListener("change", chooseColumns);
strategyPart.addEventListener("input", chooseRows);
chooseColumns();
document.querySelectorAll("table.sortable").forEach(drawBars);
