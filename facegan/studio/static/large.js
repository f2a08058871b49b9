// The large view of a face: window.facegan.enlarge(grid, index, sheet) shows a face of a grid (faces.js); arrow keys show its neighbours.
const dialog = element.querySelector('dialog'), picture = dialog.querySelector('.picture'), title = dialog.querySelector('h2');
const [previous, next, pick, smooth, close] = dialog.querySelectorAll('button'), save = dialog.querySelector('a');
let faces = [], at = 0;

function show(index) {
  at = (index + faces.length) % faces.length;
  const source = faces[at], face = source.dataset.face, mine = face && window.facegan.picks.includes(face);
  picture.style.cssText = source.firstElementChild.style.cssText;
  picture.setAttribute('aria-label', source.title);
  title.textContent = source.title;
  pick.textContent = mine ? 'Remove from the picked faces' : 'Pick this face';
  pick.hidden = save.hidden = !face;
  save.href = `api/faces.png?${new URLSearchParams({generator: window.facegan.generator, face})}`;
  previous.hidden = next.hidden = faces.length < 2;
}

previous.addEventListener('click', () => show(at - 1));
next.addEventListener('click', () => show(at + 1));
dialog.addEventListener('keydown', ({key}) => { if (key === 'ArrowLeft') show(at - 1); else if (key === 'ArrowRight') show(at + 1); });
pick.addEventListener('click', () => { window.facegan.toggle(faces[at].dataset.face); show(at); });
smooth.addEventListener('click', () => smooth.setAttribute('aria-pressed', dialog.classList.toggle('smooth')));
close.addEventListener('click', () => dialog.close());
dialog.addEventListener('click', ({target}) => { if (target === dialog) dialog.close(); });  // outside its content

window.facegan.enlarge = (grid, index, sheet) => {
  faces = [...grid.querySelectorAll('button:not(.waiting)')].map((face) => face.cloneNode(true));  // the grid may be drawn again meanwhile
  faces.forEach((face) => { face.firstElementChild.style.backgroundImage = `url(${sheet})`; });
  show(index);
  dialog.showModal();
};
