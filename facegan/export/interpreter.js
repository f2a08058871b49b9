// Runs an ONNX network in plain JavaScript, one image at a time. It implements the operations of facegan's generators.
// A tensor is {shape: [...], data: Float32Array or Array}.
function makeNetwork(graph, weights) {
  const size = (shape) => shape.reduce((product, length) => product * length, 1);
  const tensor = (shape, data) => ({shape, data: data || new Float32Array(size(shape))});
  const stridesOf = (shape) => { const out = new Array(shape.length); let step = 1; for (let i = shape.length - 1; i >= 0; i--) { out[i] = step; step *= shape[i]; } return out; };

  // c (M, N) = a (M, K) · b (K, N), each from its offset. Products of a few numbers, and all where WebAssembly is missing, use JavaScript.
  const compiled = 'AGFzbQEAAAABCgFgBn9/f39/fwADAgEABQMBAAEHFQIGbWVtb3J5AgAIbXVsdGlwbHkAAAqnBAGkBAIIfwt7IARBAnQhDCAFQQV0IQ0DQEEAIQYDQP0MAAAAAAAAAAAAAAAAAAAAACER/QwAAAAAAAAAAAAAAAAAAAAAIRL9DAAAAAAAAAAAAAAAAAAAAAAhE/0MAAAAAAAAAAAAAAAAAAAAACEU/QwAAAAAAAAAAAAAAAAAAAAAIRX9DAAAAAAAAAAAAAAAAAAAAAAhFv0MAAAAAAAAAAAAAAAAAAAAACEX/QwAAAAAAAAAAAAAAAAAAAAAIRggACAGIAxsaiEJIAEgCCAMQQN0bGohCkEAIQcDQCAK/QAEACEOIAr9AAQQIQ8gCSELIAv9CQIAIRAgESAQIA795gH95AEhESASIBAgD/3mAf3kASESIAsgDGoiC/0JAgAhECATIBAgDv3mAf3kASETIBQgECAP/eYB/eQBIRQgCyAMaiIL/QkCACEQIBUgECAO/eYB/eQBIRUgFiAQIA/95gH95AEhFiALIAxq/QkCACEQIBcgECAO/eYB/eQBIRcgGCAQIA/95gH95AEhGCAJQQRqIQkgCkEgaiEKIAdBAWoiByAESQ0ACyACIAYgDWwgCEEFdGpqIQsgCyAR/QsEACALIBL9CwQQIAsgDWohCyALIBP9CwQAIAsgFP0LBBAgCyANaiELIAsgFf0LBAAgCyAW/QsEECALIA1qIQsgCyAX/QsEACALIBj9CwQQIAZBBGoiBiADSQ0ACyAIQQFqIgggBUkNAAsL';
  let wasm = null;
  try { wasm = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(atob(compiled), (character) => character.charCodeAt(0)))).exports; } catch { /* slower */ }
  const COLUMNS = 4096;  // of b at a time, which bounds the memory
  function multiply(a, aFrom, b, bFrom, c, cFrom, M, K, N) {
    if (!wasm || M < 4 || M * K * N < 1e5) {
      for (let m = 0; m < M; m++) for (let k = 0; k < K; k++) {
        const w = a[aFrom + m * K + k], from = bFrom + k * N, row = cFrom + m * N;
        for (let n = 0; n < N; n++) c[row + n] += w * b[from + n];
      }
      return;
    }
    const rows = 4 * Math.ceil(M / 4), most = Math.ceil(Math.min(N, COLUMNS) / 8), atB = rows * K, atC = atB + most * 8 * K;
    const missing = 4 * (atC + rows * 8 * most) - wasm.memory.buffer.byteLength;
    if (missing > 0) wasm.memory.grow(Math.ceil(missing / 65536));
    const room = new Float32Array(wasm.memory.buffer);
    room.set(a.subarray(aFrom, aFrom + M * K));
    room.fill(0, M * K, atB);
    for (let start = 0; start < N; start += COLUMNS) {
      const width = Math.min(N - start, COLUMNS), panels = Math.ceil(width / 8);
      for (let panel = 0, to = atB; panel < panels; panel++) {  // panels of (K, 8)
        const end = Math.min(8, width - 8 * panel);
        for (let k = 0, from = bFrom + start + 8 * panel; k < K; k++, from += N, to += 8) for (let n = 0; n < end; n++) room[to + n] = b[from + n];
      }
      wasm.multiply(0, 4 * atB, 4 * atC, rows, K, panels);
      for (let m = 0; m < M; m++) c.set(room.subarray(atC + m * 8 * panels, atC + m * 8 * panels + width), cFrom + m * N + start);
    }
  }

  function addBias(out, bias, channels, pixels) {
    if (bias) for (let c = 0; c < channels; c++) for (let p = 0; p < pixels; p++) out[c * pixels + p] += bias.data[c];
  }

  function convolve([x, w, bias], {strides = [1, 1], pads = [0, 0, 0, 0], group = 1}) {
    const [, channels, height, width] = x.shape, [leaving, entering, kh, kw] = w.shape;
    const outHeight = Math.floor((height + pads[0] + pads[2] - kh) / strides[0]) + 1, outWidth = Math.floor((width + pads[1] + pads[3] - kw) / strides[1]) + 1;
    const pixels = outHeight * outWidth, out = tensor([1, leaving, outHeight, outWidth]), each = leaving / group;
    const plain = kh === 1 && kw === 1 && strides[0] === 1 && strides[1] === 1 && pads.every((pad) => pad === 0);
    const columns = plain ? x.data : new Float32Array(entering * kh * kw * pixels);
    for (let g = 0; g < group; g++) {
      if (!plain) {
        columns.fill(0);
        for (let c = 0, row = 0; c < entering; c++) for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++, row++) {
          const from = (g * entering + c) * height * width;
          const first = Math.max(0, Math.ceil((pads[1] - kx) / strides[1])), end = Math.min(outWidth, Math.floor((width - 1 + pads[1] - kx) / strides[1]) + 1);
          for (let oy = 0; oy < outHeight; oy++) {
            const y = oy * strides[0] + ky - pads[0];
            if (y < 0 || y >= height) continue;
            const to = row * pixels + oy * outWidth;
            for (let ox = first, at = from + y * width + first * strides[1] + kx - pads[1]; ox < end; ox++, at += strides[1]) columns[to + ox] = x.data[at];
          }
        }
      }
      const K = entering * kh * kw;
      multiply(w.data, g * each * K, columns, plain ? g * entering * pixels : 0, out.data, g * each * pixels, each, K, pixels);
    }
    addBias(out.data, bias, leaving, pixels);
    return out;
  }

  function convolveTransposed([x, w, bias], {strides = [1, 1], pads = [0, 0, 0, 0], output_padding: more = [0, 0]}, kept) {
    const [, entering, height, width] = x.shape, [, leaving, kh, kw] = w.shape, pixels = height * width, rows = leaving * kh * kw;
    const outHeight = (height - 1) * strides[0] - pads[0] - pads[2] + kh + more[0], outWidth = (width - 1) * strides[1] - pads[1] - pads[3] + kw + more[1];
    const out = tensor([1, leaving, outHeight, outWidth]), columns = new Float32Array(rows * pixels);
    if (!kept.turned || kept.source !== w.data) {  // (rows, entering), once
      kept.turned = new Float32Array(rows * entering);
      kept.source = w.data;
      for (let c = 0; c < entering; c++) for (let r = 0; r < rows; r++) kept.turned[r * entering + c] = w.data[c * rows + r];
    }
    multiply(kept.turned, 0, x.data, 0, columns, 0, rows, entering, pixels);
    for (let c = 0, row = 0; c < leaving; c++) for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++, row++) for (let y = 0; y < height; y++) {
      const oy = y * strides[0] + ky - pads[0];
      if (oy < 0 || oy >= outHeight) continue;
      for (let at = 0; at < width; at++) {
        const ox = at * strides[1] + kx - pads[1];
        if (ox >= 0 && ox < outWidth) out.data[(c * outHeight + oy) * outWidth + ox] += columns[row * pixels + y * width + at];
      }
    }
    addBias(out.data, bias, leaving, outHeight * outWidth);
    return out;
  }

  function gemm([a, b, c], {transA = 0, transB = 0, alpha = 1, beta = 1}) {
    const left = transA ? transpose([a], {perm: [1, 0]}) : a, right = transB ? transpose([b], {perm: [1, 0]}) : b;
    const [M, K] = left.shape, N = right.shape[1], out = tensor([M, N]);
    multiply(left.data, 0, right.data, 0, out.data, 0, M, K, N);
    if (alpha !== 1) for (let i = 0; i < out.data.length; i++) out.data[i] *= alpha;
    return c ? combine([out, beta === 1 ? c : map([c], (value) => beta * value)], (p, q) => p + q) : out;
  }

  function matmul([a, b]) {
    const A = a.shape.length === 1 ? [1, ...a.shape] : a.shape, B = b.shape.length === 1 ? [...b.shape, 1] : b.shape;
    const [M, K] = A.slice(-2), N = B.at(-1), outer = A.length >= B.length ? A.slice(0, -2) : B.slice(0, -2);
    const out = tensor([...outer, M, N]), many = size(outer), manyA = size(A.slice(0, -2)), manyB = size(B.slice(0, -2));
    for (let i = 0; i < many; i++) multiply(a.data, (manyA === 1 ? 0 : i) * M * K, b.data, (manyB === 1 ? 0 : i) * K * N, out.data, i * M * N, M, K, N);
    return out;
  }

  function map([x], f) {
    const out = tensor(x.shape);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(x.data[i]);
    return out;
  }

  function broadcast(a, b) {
    const rank = Math.max(a.length, b.length);
    return Array.from({length: rank}, (_, i) => Math.max(a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1));
  }

  function stretchedStrides(shape, to) {
    const strides = stridesOf(shape), pad = to.length - shape.length;
    return to.map((_, i) => (i < pad || shape[i - pad] === 1 ? 0 : strides[i - pad]));
  }

  function combine([a, b], f) {
    const shape = broadcast(a.shape, b.shape), out = tensor(shape), rank = shape.length;
    if (`${a.shape}` === `${b.shape}`) {
      for (let i = 0; i < out.data.length; i++) out.data[i] = f(a.data[i], b.data[i]);
      return out;
    }
    if (a.data.length === out.data.length && b.data.length === a.shape[1] && b.shape.at(1 - rank) === a.shape[1]) {  // one number per channel
      const pixels = a.data.length / b.data.length;
      for (let c = 0, i = 0; c < b.data.length; c++) for (let p = 0; p < pixels; p++, i++) out.data[i] = f(a.data[i], b.data[c]);
      return out;
    }
    const stridesA = stretchedStrides(a.shape, shape), stridesB = stretchedStrides(b.shape, shape), index = new Array(rank).fill(0);
    for (let i = 0, atA = 0, atB = 0; i < out.data.length; i++) {
      out.data[i] = f(a.data[atA], b.data[atB]);
      for (let axis = rank - 1; axis >= 0; axis--) {
        atA += stridesA[axis];
        atB += stridesB[axis];
        if (++index[axis] < shape[axis]) break;
        atA -= stridesA[axis] * shape[axis];
        atB -= stridesB[axis] * shape[axis];
        index[axis] = 0;
      }
    }
    return out;
  }

  function transpose([x], {perm}) {
    const shape = perm.map((axis) => x.shape[axis]), from = stridesOf(x.shape), strides = perm.map((axis) => from[axis]);
    const out = tensor(shape), index = new Array(shape.length).fill(0);
    for (let i = 0, place = 0; i < out.data.length; i++) {
      out.data[i] = x.data[place];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        place += strides[axis];
        if (++index[axis] < shape[axis]) break;
        place -= strides[axis] * shape[axis];
        index[axis] = 0;
      }
    }
    return out;
  }

  function reshape([x, shape], {allowzero = 0}) {
    const wanted = Array.from(shape.data, (length, i) => (length === 0 && !allowzero ? x.shape[i] : length));
    const known = wanted.reduce((product, length) => (length < 0 ? product : product * length), 1);
    return tensor(wanted.map((length) => (length < 0 ? x.data.length / known : length)), x.data);
  }

  function unsqueeze([x, axes]) {
    const rank = x.shape.length + axes.data.length, added = new Set(Array.from(axes.data, (axis) => (axis < 0 ? axis + rank : axis))), old = [...x.shape];
    return tensor(Array.from({length: rank}, (_, i) => (added.has(i) ? 1 : old.shift())), x.data);
  }

  function gather([x, indices], {axis = 0}) {
    const at = axis < 0 ? axis + x.shape.length : axis, before = size(x.shape.slice(0, at)), after = size(x.shape.slice(at + 1)), length = x.shape[at];
    const out = tensor([...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)]), many = indices.data.length;
    for (let b = 0; b < before; b++) for (let i = 0; i < many; i++) {
      const index = indices.data[i] < 0 ? indices.data[i] + length : indices.data[i];
      for (let a = 0; a < after; a++) out.data[(b * many + i) * after + a] = x.data[(b * length + index) * after + a];
    }
    return out;
  }

  function reduce([x, axes], {keepdims = 1}, mean) {
    const rank = x.shape.length, over = new Set(Array.from(axes ? axes.data : x.shape.keys(), (axis) => (axis < 0 ? axis + rank : axis)));
    const kept = x.shape.map((length, i) => (over.has(i) ? 1 : length)), out = tensor(kept), strides = stretchedStrides(kept, x.shape), index = new Array(rank).fill(0);
    for (let i = 0, place = 0; i < x.data.length; i++) {
      out.data[place] += x.data[i];
      for (let axis = rank - 1; axis >= 0; axis--) {
        place += strides[axis];
        if (++index[axis] < x.shape[axis]) break;
        place -= strides[axis] * x.shape[axis];
        index[axis] = 0;
      }
    }
    const count = mean ? x.data.length / out.data.length : 1;
    for (let i = 0; i < out.data.length; i++) out.data[i] /= count;
    return keepdims ? out : tensor(x.shape.filter((_, i) => !over.has(i)), out.data);
  }

  function resize([x, , scales, sizes], {mode, coordinate_transformation_mode: way = 'half_pixel'}) {
    if (mode !== 'linear' || way !== 'half_pixel') throw new Error(`expected linear resizing with half-pixel centres; found ${mode}, ${way}`);
    const shape = sizes ? Array.from(sizes.data) : x.shape.map((length, axis) => Math.floor(length * scales.data[axis])), out = tensor(shape);
    const [, channels, height, width] = x.shape, [, , toHeight, toWidth] = shape;
    const placesOf = (from, to) => Array.from({length: to}, (_, i) => {  // the pixel before, the pixel after, and the weight of the latter
      const place = Math.min(from - 1, Math.max(0, (i + 0.5) * from / to - 0.5)), before = Math.floor(place);
      return [before, Math.min(from - 1, before + 1), place - before];
    });
    const rows = placesOf(height, toHeight), columns = placesOf(width, toWidth);
    for (let c = 0, i = 0; c < channels; c++) for (const [y0, y1, down] of rows) for (const [x0, x1, across] of columns) {
      const upper = (c * height + y0) * width, lower = (c * height + y1) * width;
      const a = x.data[upper + x0] * (1 - across) + x.data[upper + x1] * across, b = x.data[lower + x0] * (1 - across) + x.data[lower + x1] * across;
      out.data[i++] = a * (1 - down) + b * down;
    }
    return out;
  }

  function normalize([x, scale, bias, mean, variance], {epsilon = 1e-5}) {
    const channels = x.shape[1], pixels = x.data.length / channels, out = tensor(x.shape);
    for (let c = 0; c < channels; c++) {
      const factor = scale.data[c] / Math.sqrt(variance.data[c] + epsilon);
      for (let p = 0; p < pixels; p++) out.data[c * pixels + p] = (x.data[c * pixels + p] - mean.data[c]) * factor + bias.data[c];
    }
    return out;
  }

  const row = (data) => ({shape: [1, data.length], data});
  const operations = {
    Conv: convolve, ConvTranspose: convolveTransposed, Gemm: gemm, MatMul: matmul, Transpose: transpose, Reshape: reshape, Unsqueeze: unsqueeze, Gather: gather,
    ReduceMean: (x, settings) => reduce(x, settings, true), ReduceSum: (x, settings) => reduce(x, settings, false), BatchNormalization: normalize, Resize: resize,
    Relu: (x) => map(x, (value) => Math.max(0, value)),
    LeakyRelu: (x, {alpha = 0.01}) => map(x, (value) => (value < 0 ? alpha * value : value)),
    Tanh: (x) => map(x, Math.tanh), Sqrt: (x) => map(x, Math.sqrt), Reciprocal: (x) => map(x, (value) => 1 / value), Identity: ([x]) => x,
    Add: (x) => combine(x, (a, b) => a + b), Sub: (x) => combine(x, (a, b) => a - b), Mul: (x) => combine(x, (a, b) => a * b),
    Div: (x) => combine(x, (a, b) => a / b), Pow: (x) => combine(x, (a, b) => a ** b),
    // of rows (1, N), which is what latents and labels are
    Concat: (x) => row(x.flatMap(({data}) => Array.from(data))), Slice: ([x, start, end]) => row(x.data.slice(start.data[0], end.data[0])),
    Expand: ([x, shape]) => combine([x, tensor(broadcast(x.shape, Array.from(shape.data)))], (value) => value),
  };

  const half = new Uint16Array(weights);
  const fromHalf = Float32Array.from({length: 65536}, (_, bits) => {  // of every number in IEEE 754 half precision
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
  const constants = {};
  for (const [name, {shape, start, values}] of Object.entries(graph.tensors)) {
    constants[name] = {shape, data: values || new Float32Array(size(shape)).map((_, i) => fromHalf[half[start + i]])};
  }

  function run([kind, inputs, outputs, settings], values, kept) {
    if (!operations[kind]) throw new Error(`expected an implemented operation; found ${kind}`);
    values[outputs[0]] = operations[kind](inputs.map((name) => (name ? values[name] : undefined)), settings, kept);
  }
  const kept = graph.nodes.map(() => ({}));
  const waiting = [];
  graph.nodes.forEach((node, i) => {  // constant subexpressions are computed once
    if (node[1].every((name) => !name || name in constants)) run(node, constants, kept[i]); else waiting.push(i);
  });
  const last = {};
  waiting.forEach((i) => graph.nodes[i][1].forEach((name) => { last[name] = i; }));
  return (inputs) => {
    const values = Object.assign(Object.create(constants), inputs);
    for (const i of waiting) {
      run(graph.nodes[i], values, kept[i]);
      for (const name of graph.nodes[i][1]) if (last[name] === i && Object.hasOwn(values, name)) delete values[name];
    }
    return values[graph.output];
  };
}
