// Links with data-dialog open the dialog of that id in place of the page that asks the same.
export function start() {
  for (const opener of document.querySelectorAll("button[data-dialog][hidden]")) opener.hidden = false;
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const opener = event.target.closest?.("[data-dialog]");
    const dialog = opener && document.getElementById(opener.dataset.dialog);
    if (dialog instanceof HTMLDialogElement) {
      event.preventDefault();
      opener.closest("details.menu")?.removeAttribute("open");
      dialog.showModal();
      return;
    }
    const open = event.target.closest?.("dialog");
    if (!open) return;
    // The dialog itself is hit only beside its content: the backdrop.
    const box = open.getBoundingClientRect();
    const isOutside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
    if (event.target.closest("[data-close]") || (event.target === open && isOutside && event.detail > 0)) open.close();
  });
}
