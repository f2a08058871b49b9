// Triggers 'input' when a section opens, and while it is open when the page's event "facegan-change" reports another generator or pick.
const radio = `#sections input[value="${element.querySelector('[data-name]').dataset.name}"]:checked`;
window.addEventListener('facegan-change', () => { if (document.querySelector(radio)) trigger('input'); });
