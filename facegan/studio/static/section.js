// Triggers 'input' when a section opens, and while it is open when the page's event "facegan-change" reports another generator or pick,
// and every few seconds if the section asks for it or the generator is in training.
const {name, every} = element.querySelector('[data-name]').dataset;
const report = () => { if (window.facegan?.generator && document.querySelector(`[aria-controls="section-${name}"][aria-selected="true"]`)) trigger('input'); };
window.addEventListener('facegan-change', report);
setInterval(() => { if (every || window.facegan?.generator.startsWith('training ')) report(); }, 1000 * (every || 5));
