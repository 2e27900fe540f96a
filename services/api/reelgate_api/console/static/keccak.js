// Keccak-256 as Ethereum uses it, of a short ASCII text: browsers have no such hash of their own.

const ROUNDS = 24;
const LANE = (1n << 64n) - 1n;
const RATE = 136; // bytes

const turn = (lane, by) => ((lane << by) | (lane >> (64n - by))) & LANE;

/** The constants of the rounds and the turns of the lanes, by the rules of the standard. */
function constants() {
  const steps = [];
  const turns = Array(25).fill(0n);
  let register = 1;
  for (let round = 0; round < ROUNDS; round++) {
    let constant = 0n;
    for (let bit = 0; bit < 7; bit++) {
      if (register & 1) constant |= 1n << ((1n << BigInt(bit)) - 1n);
      register = (register << 1) ^ (register & 0x80 ? 0x171 : 0);
    }
    steps.push(constant);
  }
  for (let [x, y, at] = [1, 0, 0]; at < 24; at++) {
    turns[x + 5 * y] = BigInt((((at + 1) * (at + 2)) / 2) % 64);
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return { steps, turns };
}

const { steps, turns } = constants();

function permute(state) {
  for (const step of steps) {
    const columns = [0, 1, 2, 3, 4].map((x) => state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]);
    const mixed = state.map((lane, at) => lane ^ columns[(at + 4) % 5] ^ turn(columns[(at + 1) % 5], 1n));
    const moved = Array(25);
    for (let x = 0; x < 5; x++) for (let y = 0; y < 5; y++) moved[y + 5 * ((2 * x + 3 * y) % 5)] = turn(mixed[x + 5 * y], turns[x + 5 * y]);
    for (let at = 0; at < 25; at++) {
      const row = at - (at % 5);
      state[at] = moved[at] ^ (~moved[row + ((at + 1) % 5)] & LANE & moved[row + ((at + 2) % 5)]);
    }
    state[0] ^= step;
  }
}

/** The hash in hexadecimal. */
export function keccak256(text) {
  const block = new Uint8Array(RATE);
  block.set(new TextEncoder().encode(text)); // an address is far shorter than one block
  block[text.length] ^= 0x01;
  block[RATE - 1] ^= 0x80;
  const view = new DataView(block.buffer);
  const state = Array.from({ length: 25 }, (_, at) => (at * 8 < RATE ? view.getBigUint64(at * 8, true) : 0n));
  permute(state);
  const out = new DataView(new ArrayBuffer(32));
  for (let at = 0; at < 4; at++) out.setBigUint64(at * 8, state[at], true);
  return Array.from(new Uint8Array(out.buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
