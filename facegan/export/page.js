// Draws faces in a worker, so that the page stays responsive. The latest request is answered first.
'use strict';
const content = JSON.parse(document.getElementById('content').textContent);
const packed = atob(document.getElementById('weights').textContent), bytes = new Uint8Array(packed.length);
for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);  // 10 times as fast as Uint8Array.from
const work = `${document.getElementById('interpreter').textContent}
let network;
onmessage = ({data}) => {
  if (data.graph) { network = makeNetwork(data.graph, data.weights); return; }
  const size = data.latents.length, began = performance.now();
  const out = network({latents: {shape: [1, size], data: data.latents}, truncation: {shape: [1, 1], data: [data.truncation]}, shift: {shape: [1, size], data: data.shift}, labels: {shape: [1, data.labels.length], data: data.labels}});
  const [, , height, width] = out.shape, pixels = new Uint8ClampedArray(4 * height * width);
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) pixels[4 * p + c] = Math.round((out.data[c * height * width + p] + 1) * 127.5);
    pixels[4 * p + 3] = 255;
  }
  postMessage({number: data.number, pixels, milliseconds: performance.now() - began});
};`;
const worker = new Worker(URL.createObjectURL(new Blob([work], {type: 'text/javascript'})));
worker.postMessage({graph: content.graph, weights: bytes.buffer}, [bytes.buffer]);

const waiting = [], answers = new Map();
let asked = 0, busy = false;
function ask(question) {  // → the face's pixels and the time in milliseconds
  return new Promise((answer) => { waiting.push({...question, number: ++asked, answer}); next(); });
}
function next() {
  if (busy || !waiting.length) return;
  const {answer, ...question} = waiting.pop();
  busy = true;
  answers.set(question.number, answer);
  worker.postMessage(question);
}
worker.onmessage = ({data}) => {
  busy = false;
  answers.get(data.number)(data);
  answers.delete(data.number);
  next();
};
worker.onerror = (error) => { document.getElementById('about').textContent = `This browser cannot draw the face: ${error.message}`; };

function drawLatent(seed) {  // the same seed gives the same face in every browser (mulberry32, Box and Muller)
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return Array.from({length: content.latent_size}, content.distribution === 'uniform' ? () => 2 * uniform() - 1 : normal);
}

function paint(canvas, pixels) {
  canvas.width = canvas.height = content.resolution;
  canvas.getContext('2d').putImageData(new ImageData(pixels, content.resolution), 0, 0);
}

const face = document.getElementById('face'), sliders = document.getElementById('sliders'), many = document.getElementById('many');
const readSeed = () => Number(/^#(\d{1,9})$/.exec(location.hash)?.[1] ?? Math.floor(Math.random() * 1e6));
const about = document.getElementById('about'), slow = content.seconds > 0.3 ? `: about ${content.seconds} s per face on a laptop` : '';
let seed = readSeed();

function addSlider(name, low, high, value) {
  const label = document.createElement('label'), words = document.createElement('span'), input = document.createElement('input'), shown = document.createElement('output');
  words.textContent = name;
  Object.assign(input, {type: 'range', min: low, max: high, step: 0.05, value});
  input.dataset.middle = value;
  input.addEventListener('input', () => { shown.textContent = Number(input.value).toFixed(2); draw(); });
  shown.textContent = Number(value).toFixed(2);
  label.append(words, input, shown);
  sliders.append(label);
  return input;
}
const truncation = addSlider('Truncation', 0.05, 1.5, 1);
const amounts = content.names.map((name) => addSlider(name, -content.reach, content.reach, 0));

const chosen = content.labels.map(({name, values, start}) => {  // a list for each column of labels
  const label = document.createElement('label'), words = document.createElement('span'), select = document.createElement('select');
  words.textContent = name;
  select.append(...values.map((value) => new Option(value)));
  select.selectedIndex = start;
  select.addEventListener('change', () => { draw(); fill(); });
  label.append(words, select);
  sliders.append(label);
  return select;
});
const nameLabels = () => content.labels.map(({name}, i) => `+${encodeURIComponent(name)}=${encodeURIComponent(chosen[i].value)}`).join('');
const readLabels = () => chosen.flatMap((select) => Array.from(select.options, (_, i) => Number(i === select.selectedIndex)));

function makeQuestion(latents) {
  const shift = new Array(content.latent_size).fill(0);
  content.directions.forEach((direction, i) => direction.forEach((value, j) => { shift[j] += Number(amounts[i].value) * value; }));
  return {latents, truncation: Number(truncation.value), shift, labels: readLabels()};
}

let latest = 0, drawing = false, again = false;
async function draw() {  // one face at a time; of the requests in the meantime only the last is drawn
  if (drawing) { again = true; return; }
  drawing = true;
  face.classList.add('drawing');
  if (slow || !latest) about.textContent = `Drawing …${slow}`;
  do {
    again = false;
    const {pixels, milliseconds} = await ask(makeQuestion(drawLatent(seed)));
    paint(face, pixels);
    face.dataset.drawn = ++latest;
    about.textContent =
      `${content.resolution} × ${content.resolution} pixels, drawn in this browser in ${Math.round(milliseconds)} ms. Nothing is sent or fetched. Seed ${seed} of this page; facegan draws other faces for the same seed.`;
  } while (again);
  face.classList.remove('drawing');
  drawing = false;
}

function choose(number) {
  seed = number;
  history.replaceState(null, '', `#${seed}`);
  return draw();
}

let filling = 0;
async function fill() {
  const mine = ++filling;
  many.replaceChildren();
  delete many.dataset.filled;
  for (let i = 1; i <= 12; i++) {
    const button = document.createElement('button'), canvas = document.createElement('canvas'), number = (seed + 7919 * i) % 1e9;
    button.setAttribute('aria-label', `face of seed ${number}`);
    canvas.className = 'drawing';
    button.append(canvas);
    button.addEventListener('click', () => choose(number));
    many.append(button);
    const {pixels} = await ask({latents: drawLatent(number), truncation: 1, shift: new Array(content.latent_size).fill(0), labels: readLabels()});
    if (mine !== filling) return;  // the labels have changed since
    paint(canvas, pixels);
    canvas.className = '';
  }
  many.dataset.filled = 'yes';
}

document.getElementById('new').addEventListener('click', () => choose(Math.floor(Math.random() * 1e6)).then(fill));
window.addEventListener('hashchange', () => { if (location.hash !== `#${seed}`) choose(readSeed()).then(fill); });
document.getElementById('middle').addEventListener('click', () => {
  for (const input of [truncation, ...amounts]) { input.value = input.dataset.middle; input.dispatchEvent(new Event('input')); }
});
async function addMark(png) {  // → the picture with a text chunk that states that it was generated, after its header of 33 bytes
  const text = new TextEncoder().encode(`iTXtXML:com.adobe.xmp\0\0\0\0\0${content.mark.replace('SEED', seed + nameLabels())}`);
  const chunk = new Uint8Array(text.length + 8), view = new DataView(chunk.buffer);
  let crc = -1;
  for (const byte of text) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  view.setUint32(0, text.length - 4);
  chunk.set(text, 4);
  view.setUint32(text.length + 4, ~crc >>> 0);
  return new Blob([png.slice(0, 33), chunk, png.slice(33)], {type: 'image/png'});
}
document.getElementById('save').addEventListener('click', () => {
  const large = document.createElement('canvas'), times = Math.ceil(512 / content.resolution), link = document.createElement('a');
  large.width = large.height = times * content.resolution;
  const context = large.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(face, 0, 0, large.width, large.height);
  large.toBlob(async (png) => Object.assign(link, {href: URL.createObjectURL(await addMark(png)), download: `face-${seed}.png`}).click());
});
window.facegan = {draw: (latents, strength = 1, shift = new Array(content.latent_size).fill(0), labels = readLabels()) => ask({latents, truncation: strength, shift, labels})};
choose(seed).then(fill);
