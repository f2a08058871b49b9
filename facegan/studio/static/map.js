// A map of two directions. The value: [across, up], each from -reach to reach. Event: 'input', when the visitor drags or uses arrow keys.
const map = element.querySelector('.map'), point = map.firstElementChild, reach = Number(map.dataset.reach);

function move(across, up) {
  const inside = (value) => Math.round(10 * Math.max(-reach, Math.min(reach, value))) / 10;
  props.value = [inside(across), inside(up)];
  render();
  trigger('input');
}
function render() {
  const [across, up] = props.value;
  point.style.left = `${50 + 50 * across / reach}%`;
  point.style.top = `${50 - 50 * up / reach}%`;
}
function follow({clientX, clientY, buttons, type}) {
  if (!buttons && type !== 'pointerdown') return;
  const box = map.getBoundingClientRect();
  move(reach * (2 * (clientX - box.left) / box.width - 1), reach * (1 - 2 * (clientY - box.top) / box.height));
}
map.addEventListener('pointerdown', (event) => { map.setPointerCapture(event.pointerId); follow(event); });
map.addEventListener('pointermove', follow);
map.addEventListener('keydown', (event) => {
  const step = {ArrowLeft: [-0.3, 0], ArrowRight: [0.3, 0], ArrowUp: [0, 0.3], ArrowDown: [0, -0.3]}[event.key];
  if (!step) return;
  event.preventDefault();
  move(props.value[0] + step[0], props.value[1] + step[1]);
});
render();
watch('value', render);
