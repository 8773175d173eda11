// Animated pictures get a button that stops them, and stand still from the
// start for readers who asked their system for less motion.
document.addEventListener("DOMContentLoaded", () => {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const picture of document.querySelectorAll('.bd-content img[src$=".gif"]')) {
    const moving = picture.src;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "gantut-motion";
    const set = (running) => {
      if (running) {
        picture.src = moving;
      } else {
        const canvas = document.createElement("canvas");
        canvas.width = picture.naturalWidth;
        canvas.height = picture.naturalHeight;
        canvas.getContext("2d").drawImage(picture, 0, 0);
        try {
          picture.src = canvas.toDataURL();
        } catch {
          return; // opened as a file, where a browser does not hand out pixels
        }
      }
      button.textContent = running ? "Pause the animation" : "Play the animation";
      button.onclick = () => set(!running);
    };
    set(true);
    picture.after(button);
    if (still) {
      if (picture.complete) set(false);
      else picture.addEventListener("load", () => set(false), { once: true });
    }
  }

  // The theme's arrows in the table of contents have no name of their own.
  for (const arrow of document.querySelectorAll(".bd-sidebar summary")) {
    const link = arrow.closest("li")?.querySelector("a");
    if (!arrow.innerText.trim() && link) {
      arrow.setAttribute("aria-label", `Pages below ${link.textContent.trim()}`);
    }
  }

  // A region that scrolls sideways must be reachable by keyboard.
  const reach = () => {
    for (const box of document.querySelectorAll(".bd-content pre, .bd-content .cell_output .output")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    }
  };
  reach();
  window.addEventListener("resize", reach);
});
