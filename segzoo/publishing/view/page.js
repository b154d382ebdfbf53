// What Gradio's own parts lack: they take dropped files but no folder, and the border of the two pictures moves by the mouse alone.
() => {
  const filesOf = async (entry) => {
    if (entry.isFile) return [await new Promise((found, fault) => entry.file(found, fault))];
    const reader = entry.createReader(), inside = [];
    for (let some; (some = await new Promise((found, fault) => reader.readEntries(found, fault))).length; ) inside.push(...some);
    return (await Promise.all(inside.map(filesOf))).flat();
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) return;
    event.stopPropagation();
    const carried = new DataTransfer();
    for (const file of (await Promise.all(entries.map(filesOf))).flat()) carried.items.add(file);
    const chooser = document.querySelector("input[type=file][webkitdirectory]"); // a dropped folder goes the way of a chosen one
    chooser.files = carried.files;
    chooser.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);

  const border = "[data-testid=slider]";
  new MutationObserver(() => {
    for (const one of document.querySelectorAll(`${border}:not([tabindex])`)) {
      one.tabIndex = 0;
      one.setAttribute("aria-label", "border of the two pictures: left and right arrow");
    }
  }).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -20, ArrowRight: 20 }[event.key];
    if (!step || !event.target.matches(border)) return;
    event.preventDefault();
    const { left, top, width } = event.target.getBoundingClientRect();
    const mouse = (kind, x) => new MouseEvent(kind, { view: window, bubbles: true, clientX: left + width / 2 + x, clientY: top + 1 });
    event.target.dispatchEvent(mouse("mousedown", 0));
    window.dispatchEvent(mouse("mousemove", step));
    window.dispatchEvent(mouse("mouseup", step));
  });
}
