// Filters: a table is shown if all sequences that its numbers are of pass.

const filterParts = ["tier", "grade", "sequence"].map((part) =>
  document.getElementById(`filter-${part}`),
);
const filteredTables = [...document.getElementById("filtered").children];

function filterTables() {
  const [tier, grade, part] = filterParts.map((control) => control.value.trim());
  const passes = (name) =>
    (!tier || data.sequences[name].tier === tier) &&
    (!grade || data.sequences[name].grade === grade) &&
    name.includes(part.toLowerCase());
  for (const table of filteredTables) {
    table.hidden = !table.dataset.sequences.split(" ").every(passes);
  }
  const shown = filteredTables.filter((table) => !table.hidden).length;
  document.getElementById("filter-count").textContent =
    `${shown} of ${filteredTables.length} tables shown`;
}

filterParts.forEach((control) => control.addEventListener("input", filterTables));
document.getElementById("filter-reset").addEventListener("click", () => {
  filterParts.forEach((control) => (control.value = ""));
  filterTables();
});
document.querySelectorAll(".controls").forEach((controls) => (controls.hidden = false));
filterTables();
