(() => {
  const faults = [];
  const shown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
  const label = (e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`;
  const box = (e) => e.getBoundingClientRect();
  const apart = (a, b) => a.right <= b.left + 0.5 || b.right <= a.left + 0.5
    || a.bottom <= b.top + 0.5 || b.bottom <= a.top + 0.5;
  const check = (elements) => {
    const boxes = elements.filter(shown).map((e) => [e, box(e)]);
    boxes.forEach(([e, one], i) => boxes.slice(i + 1).forEach(([f, other]) => {
      if (!apart(one, other)) faults.push(`${label(e)} overlaps ${label(f)}`);
    }));
  };
  check([...document.body.children]);
  check([...document.querySelectorAll("header > *")]);
  check([...document.querySelectorAll("#controls > *")]);
  check([...document.querySelectorAll("#detail > *")]);
  const rows = [...document.querySelectorAll("#rows .row")];
  check(rows);
  for (const row of [...rows, document.querySelector("#head .row")].filter(shown)) {
    const cells = [...row.querySelectorAll("[role=gridcell], [role=columnheader], .arrow")].filter(shown);
    check(cells);
    for (const cell of cells) {
      const [outer, inner] = [box(row), box(cell)];
      if (inner.left < outer.left || inner.right > outer.right + 0.5
          || inner.top < outer.top - 0.5 || inner.bottom > outer.bottom + 0.5) {
        faults.push(`${label(cell)} leaves its row`);
      }
      if (!cell.matches(".name, .graph") && cell.scrollWidth > cell.clientWidth) {
        faults.push(`${label(cell)} is cut off`);
      }
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the window");
  if (document.documentElement.scrollHeight > innerHeight) faults.push("higher than the window");
  return faults;
})()
