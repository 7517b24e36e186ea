"use strict";
// Tables of the class "static": a click on a title sorts, controls with data-filter choose rows, a row with data-case opens that case.
(function () {
  const number = (text) => { const found = text.replace("−", "-").match(/[-+]?\d+(\.\d+)?/); return found ? Number(found[0]) : null; };
  const shown = (value) => (value === null ? "–" : value.toFixed(Math.abs(value) < 10 ? 3 : 1));
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  document.querySelectorAll("table.static").forEach((table) => {
    const titles = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    titles.forEach((title, column) => {
      const button = Object.assign(element("button", title.textContent), { type: "button" });
      title.replaceChildren(button);
      button.addEventListener("click", () => {
        const falling = title.getAttribute("aria-sort") === "ascending";
        titles.forEach((other) => other.removeAttribute("aria-sort"));
        title.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const text = (row) => row.cells[column].textContent.trim();
        const words = [...body.rows].every((row) => row.cells[column].tagName === "TH" || number(text(row)) === null);
        const value = (row) => (words ? text(row) : number(text(row)));
        const order = (one, other) => {
          const a = value(one), b = value(other);
          if (a === null || b === null) return (a === null) - (b === null);
          return (words ? a.localeCompare(b, undefined, { numeric: true }) : a - b) * (falling ? -1 : 1);
        };
        body.append(...[...body.rows].filter((row) => !row.dataset.total).sort(order), ...[...body.rows].filter((row) => row.dataset.total));
      });
    });
  });

  const filters = [...document.querySelectorAll("[data-filter]")];
  const filter = () => {
    const rows = [...document.querySelectorAll(`#${filters[0].dataset.filter} table.static tbody tr`)];
    rows.forEach((row) => {
      row.hidden = !filters.every((control) => {
        const wanted = control.value.toLowerCase();
        return !wanted || (control.tagName === "SELECT" ? row.lastElementChild.textContent.toLowerCase() === wanted : row.textContent.toLowerCase().includes(wanted));
      });
    });
    document.getElementById("shown-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} cases`;
  };
  filters.forEach((control) => ["input", "change"].forEach((event) => control.addEventListener(event, filter)));
  if (filters.length) filter();

  const holder = document.getElementById("comparison-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const open = (row) => {
    const header = document.createElement("tr");
    header.append(...["label", ...data.metrics.flatMap((metric) => [`${metric.title} A`, `${metric.title} B`, "A − B"])].map((title) => element("th", title)));
    const lines = data.labels.map((label, place) => {
      const line = document.createElement("tr");
      line.append(element("th", label), ...data.metrics.flatMap((metric) => {
        const [a, b] = [metric.a[row.dataset.case][place], metric.b[row.dataset.case][place]];
        return [element("td", shown(a)), element("td", shown(b)), element("td", a === null || b === null ? "–" : shown(a - b))];
      }));
      return line;
    });
    const table = document.createElement("table"), head = document.createElement("thead"), body = document.createElement("tbody");
    head.append(header); body.append(...lines); table.append(head, body);
    const scroll = Object.assign(document.createElement("div"), { className: "scroll" });
    scroll.append(table);
    const detail = document.getElementById("case-detail");
    detail.hidden = false;
    detail.replaceChildren(element("h3", row.cells[0].textContent), scroll);
    detail.scrollIntoView({ block: "nearest" });
  };
  document.querySelectorAll("tr[data-case]").forEach((row) => {
    row.addEventListener("click", () => open(row));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") open(row); });
  });
}());
