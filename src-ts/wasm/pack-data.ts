/** Replaces the data segments of the filter by one that is packed, and a header that says so. `assembly/memory/unpack.ts` undoes it. */
import { packBytes, ROOM_BYTES } from './lz.ts';

const MEMORY = 5;
const DATA = 11;
const DATA_COUNT = 12;
const PAGE = 0x10000;
const HEADER_BYTES = 12;
/** The compiler leaves out the memory below when it optimizes. */
const FIRST_DATA = 1024;
const I32_CONST = 0x41;
const END = 0x0b;

interface Section {
  readonly id: number;
  readonly body: Uint8Array;
}

class Reader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get isDone(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new Error('the wasm ends too early');
    return byte;
  }

  number(): number {
    let value = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      more = byte >= 0x80;
    }
    return value;
  }

  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}

function sectionsOf(wasm: Uint8Array): Section[] {
  const reader = new Reader(wasm);
  reader.take(8);
  const sections: Section[] = [];
  while (!reader.isDone) sections.push({ id: reader.byte(), body: reader.take(reader.number()) });
  return sections;
}

/** The memory from the first byte of data to the last. */
function imageOf(body: Uint8Array): { start: number; image: Uint8Array } {
  const reader = new Reader(body);
  const segments = Array.from({ length: reader.number() }, () => {
    if (reader.byte() !== 0 || reader.byte() !== I32_CONST)
      throw new Error('a data segment without an address');
    const at = reader.number();
    if (reader.byte() !== END) throw new Error('a data segment with a computed address');
    return { at, bytes: reader.take(reader.number()) };
  });
  const start = Math.min(...segments.map(({ at }) => at));
  const image = new Uint8Array(Math.max(...segments.map(({ at, bytes }) => at + bytes.length)) - start);
  for (const { at, bytes } of segments) image.set(bytes, at - start);
  if (start < FIRST_DATA) throw new Error('data lies where the header goes');
  return { start, image };
}

function segment(at: number, bytes: Uint8Array): number[] {
  return [0, I32_CONST, ...signed(at), END, ...unsigned(bytes.length), ...bytes];
}

export function packData(wasm: Uint8Array): Uint8Array {
  const sections = sectionsOf(wasm);
  const bodyOf = (id: number): Uint8Array => {
    const found = sections.find((section) => section.id === id);
    if (found === undefined) throw new Error(`the wasm has no section ${id}`);
    return found.body;
  };
  const { start, image } = imageOf(bodyOf(DATA));
  const memory = new Reader(bodyOf(MEMORY));
  const [count, limits, pages] = [memory.number(), memory.byte(), memory.number()];
  if (count !== 1) throw new Error('the filter has one memory');
  const packed = packBytes(image);
  const room = pages * PAGE;
  const header = new Uint8Array(Uint32Array.of(room, start, start + image.length).buffer);
  if (header.length !== HEADER_BYTES) throw new Error('unpack.ts reads another header');
  const more = Math.ceil((ROOM_BYTES + packed.length) / PAGE);
  const replaced = new Map<number, number[]>([
    [MEMORY, [count, limits, ...unsigned(pages + more), ...memory.take(memory.bytes.length - memory.at)]],
    [DATA, [2, ...segment(0, header), ...segment(room + ROOM_BYTES, packed)]],
    [DATA_COUNT, [2]],
  ]);
  const out = [...wasm.subarray(0, 8)];
  for (const { id, body } of sections) {
    const now = replaced.get(id) ?? [...body];
    out.push(id, ...unsigned(now.length), ...now);
  }
  return Uint8Array.from(out);
}
