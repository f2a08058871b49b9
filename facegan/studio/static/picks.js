// The picked faces of each generator, in this browser's storage, with the previous picks for "Undo". All open pages share them.
// The value: {generator, faces}. The server sends {generator, add: [faces], message} to select a generator, or to add faces to its picks.
// Events: 'select' if the generator has changed, 'input' after every change of generator or picks.
const KEY = 'facegan-picks', MOST = Number(element.querySelector('[data-most]').dataset.most), STEPS = 10;
const line = element.querySelector('.line'), undo = element.querySelector('button');
let generator = '', memory = '{}';  // memory: if the browser allows no storage

function readAll() {
  try { memory = localStorage.getItem(KEY) || '{}'; } catch { /* keeps memory */ }
  try { return JSON.parse(memory); } catch { return {}; }
}

function writeAll(all) {
  memory = JSON.stringify(all);
  try { localStorage.setItem(KEY, memory); } catch { return false; }
  return true;
}

const read = (all = readAll()) => ({faces: [], before: [], ...all[generator]});

function publish(message = '') {
  const {faces, before} = read();
  line.textContent = message;
  undo.hidden = !before.length;
  props.value = {generator, faces};
  document.querySelectorAll('.faces [aria-pressed]').forEach((face) => face.setAttribute('aria-pressed', faces.includes(face.dataset.face)));
  trigger('input');
  window.dispatchEvent(new Event('facegan-change'));
}

function store(faces, message = '') {
  const all = readAll(), {faces: old, before} = read(all);
  all[generator] = {faces, before: [...before, old].slice(-STEPS)};
  if (!writeAll(all)) {
    all[generator].before = [];
    if (!writeAll(all)) message = 'This browser has no space for more picks; they are lost when you close the page.';
  }
  publish(message);
}

function add(faces, message = '') {
  const old = read().faces, fresh = [...new Set(faces)].filter((face) => !old.includes(face)), fitting = fresh.slice(0, MOST - old.length);
  if (fitting.length < fresh.length) message += ` ${MOST} faces can be picked: ${fresh.length - fitting.length} more did not fit; remove some to pick others.`;
  if (fitting.length) store([...old, ...fitting], message); else publish(message);
}

window.facegan = {
  get generator() { return generator; },
  get picks() { return read().faces; },
  toggle(face) {
    const faces = read().faces;
    if (faces.includes(face)) store(faces.filter((other) => other !== face)); else add([face]);
  },
};

undo.addEventListener('click', () => {
  const all = readAll(), before = read(all).before;
  all[generator] = {faces: before.at(-1) || [], before: before.slice(0, -1)};
  writeAll(all);
  publish('Undone.');
});
window.addEventListener('storage', ({key}) => { if (key === KEY && generator) publish(); });  // another page has changed them
watch('value', () => {
  const value = props.value || {};
  if (!value.generator || value.faces) return;
  const changed = value.generator !== generator;
  generator = value.generator;
  setTimeout(() => {  // after the other controls have their new values
    if (changed) trigger('select');
    if (value.add) add(value.add, value.message || ''); else publish(value.message || '');
  });
});
