// The tabs of the sections, by the ARIA pattern: one Tab stop, arrow keys. The open section is in the page's address, such as "#runs".
const tabs = [...element.querySelectorAll('[role=tab]')], nameOf = (tab) => tab.getAttribute('aria-controls').replace('section-', '');

function open() {
  const name = location.hash.slice(1), selected = tabs.find((tab) => nameOf(tab) === name) || tabs[0];
  tabs.forEach((tab) => {
    tab.setAttribute('aria-selected', tab === selected);
    tab.tabIndex = tab === selected ? 0 : -1;
    const panel = document.getElementById(tab.getAttribute('aria-controls'));
    panel?.setAttribute('role', 'tabpanel');
    panel?.setAttribute('aria-labelledby', tab.id);
  });
  window.dispatchEvent(new Event('facegan-change'));
}

tabs.forEach((tab, number) => {
  tab.addEventListener('click', () => { location.hash = nameOf(tab); });
  tab.addEventListener('keydown', ({key}) => {
    const step = {ArrowRight: 1, ArrowLeft: -1, Home: -number, End: tabs.length - 1 - number}[key];
    if (step === undefined) return;
    const next = tabs.at((number + step) % tabs.length);
    next.focus();
    next.click();
  });
});
window.addEventListener('hashchange', open);
new MutationObserver((_, observer) => { if (tabs.every((tab) => document.getElementById(tab.getAttribute('aria-controls')))) { observer.disconnect(); open(); } })
  .observe(document.body, {childList: true, subtree: true});
open();
