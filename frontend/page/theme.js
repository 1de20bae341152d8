// Applies the chosen colours before the page is painted.
try {
  const theme = localStorage.getItem("nacelle.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be disabled; the page then follows the system.
}
