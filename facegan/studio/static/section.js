// Triggers 'input' when a section opens, and while it is open when the page's event "facegan-change" reports another generator or pick,
// and every few seconds if the section asks for it.
const {name, every} = element.querySelector('[data-name]').dataset;
const report = () => { if (window.facegan?.generator && document.querySelector(`[aria-controls="section-${name}"][aria-selected="true"]`)) trigger('input'); };
window.addEventListener('facegan-change', report);
if (every) setInterval(report, 1000 * every);
