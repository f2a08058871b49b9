// A grid of faces, each a button. The value:
//   sheet     all drawn faces in one image, as a data: URI
//   columns   number of columns in it
//   size      width of a face in pixels
//   faces     [{face: the face as text, label: for screen readers, caption: the text below it (may be empty)}]
//   drawn     the number of faces in the sheet; the others are still being drawn
//   click     what a click does: 'pick' picks a face or removes it (picks.js), 'enlarge' shows the large view (large.js), '' nothing else
//   hint      shown if there are no faces
//   address   replaces the page's address with a link to this grid (may be missing)
// Events: 'pick', with the face. A double click always shows the large view.
const root = element.querySelector('.faces');
let sheet = null;
let size = 0;

function toBlob(address) {
  const [head, body] = address.split(',');
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], {type: head.slice(5, head.indexOf(';'))}));
}

function makeFace() {
  const button = document.createElement('button');
  button.type = 'button';
  const picture = document.createElement('span');
  picture.className = 'picture';
  const caption = document.createElement('span');
  caption.className = 'caption';
  button.append(picture, caption);
  const enlarge = () => window.facegan.enlarge(root, [...root.children].indexOf(button), props.value.sheet);
  button.addEventListener('click', () => {
    if (props.value.click === 'pick') window.facegan.toggle(button.dataset.face);
    else if (props.value.click === 'enlarge') enlarge();
    trigger('pick', {face: button.dataset.face});
  });
  button.addEventListener('dblclick', enlarge);  // after two clicks, which have picked the face and removed it
  return button;
}

// Faces are enlarged by an integer factor, so that all pixels have the same size. The style sheet sets the approximate size (--face) and, if
// it is fixed, the number of columns (--across). A face larger than the available space is scaled down smoothly.
function fit() {
  const style = getComputedStyle(root), across = parseInt(style.getPropertyValue('--across')) || 1, gap = parseFloat(style.columnGap) || 0;
  const room = (root.clientWidth - gap * (across - 1)) / across, target = Math.min(parseFloat(style.getPropertyValue('--face')), room);
  if (!size || target <= 0) return;
  const native = size / window.devicePixelRatio;
  let times = Math.round(target / native);
  if (times * native > room) times = Math.floor(room / native);
  root.style.setProperty('--cell', `${times ? times * native : target}px`);
  root.classList.toggle('smooth', times === 0);
}

function render() {
  const value = props.value || {faces: []};
  const faces = value.faces || [], drawn = value.drawn ?? faces.length;
  const old = sheet;
  sheet = value.sheet ? toBlob(value.sheet) : null;
  size = value.size || size;
  root.querySelector('.hint')?.remove();
  while (root.childElementCount > faces.length) root.lastElementChild.remove();
  while (root.childElementCount < faces.length) root.append(makeFace());  // buttons are reused, so that the focus is kept
  const rows = Math.ceil(drawn / value.columns);
  faces.forEach((item, index) => {
    const button = root.children[index];
    const [column, row] = [index % value.columns, Math.floor(index / value.columns)];
    const picture = button.firstElementChild;
    button.classList.toggle('waiting', index >= drawn);
    picture.style.backgroundImage = index < drawn ? `url(${sheet})` : '';
    picture.style.backgroundSize = `${100 * value.columns}% ${100 * rows}%`;
    picture.style.backgroundPosition = `${value.columns > 1 ? (100 * column) / (value.columns - 1) : 0}% ${rows > 1 ? (100 * row) / (rows - 1) : 0}%`;
    button.lastElementChild.textContent = item.caption || '';
    button.dataset.face = item.face;
    button.setAttribute('aria-label', item.caption && !item.label.includes(item.caption) ? `${item.caption}: ${item.label}` : item.label);
    button.title = item.label;
    if (value.click === 'pick') button.setAttribute('aria-pressed', window.facegan.picks.includes(item.face));
    else button.removeAttribute('aria-pressed');
  });
  if (!faces.length && value.hint) {
    const hint = document.createElement('p');
    hint.className = 'hint';
    hint.textContent = value.hint;
    root.append(hint);
  }
  fit();
  root.dataset.sheet = value.sheet ? value.sheet.length : 0;
  root.dataset.drawn = drawn;
  if (value.address) history.replaceState(null, '', value.address + location.hash);
  if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);  // after the new one has been painted
}

render();
watch('value', render);
new ResizeObserver(fit).observe(root);
