/**
 * Unpacks the filter's own data, tables and texts, when a VM starts: src-ts/wasm/lz.ts packs it behind the compiler. First of all that
 * runs, since all else may read data. What is packed, and the contexts, lie in pages of their own, which become the heap's afterwards.
 *
 * A bit in context 0, or in 1 behind a repetition: 0 for a literal, whose eight bits follow; 1 for bytes that were there before. Then, not
 * right behind another one, a bit: 1 for the offset of the last one; else the offset follows. Then their number. Each bit is coded by how
 * often its context has been 1 lately, in 16 bits, by a range coder whose range keeps its leading bytes until both ends agree on them.
 */

/** A header where no data lies; 0 in builds whose data is not packed: the packed bytes, where they go, and their end. */
const PACKED: usize = 0;
const START: usize = 4;
const END: usize = 8;

/** Contexts: each number takes 48, as many bits as an offset may have and one more in front of each. */
const REPEAT: usize = 2;
const OFFSET: usize = 3;
const LENGTH: usize = 51;
const LITERAL: usize = 99;
const CONTEXTS: usize = 355;
const HALF: u16 = 0x8000;
const RATE: u16 = 4;

/** The contexts lie at the packed bytes, which are behind them. */
let odds: usize = 0;
let from: usize = 0;
let low: u32 = 0;
let high: u32 = 0xffffffff;
let code: u32 = 0;

function next(): void {
  code = (code << 8) | load<u8>(from++);
}

function bit(context: usize): usize {
  const at = odds + (context << 1);
  const one = load<u16>(at);
  const middle = low + <u32>((<u64>(high - low) * one) >> 16);
  const is = code <= middle;
  if (is) high = middle;
  else low = middle + 1;
  store<u16>(at, is ? one + ((0xffff - one) >> RATE) : one - (one >> RATE));
  while ((low ^ high) >> 24 == 0) {
    low <<= 8;
    high = (high << 8) | 0xff;
    next();
  }
  return <usize>is;
}

/** A number from 1: its bits, the lowest first, and in front of each a 1. */
function number(context: usize): usize {
  let value: usize = 0;
  let size: usize = 0;
  for (; bit(context) != 0; context += 2) value |= bit(context + 1) << size++;
  return value | (1 << size);
}

function unpack(): void {
  odds = load<usize>(PACKED);
  if (odds == 0) return;
  from = odds + CONTEXTS * 2;
  for (let i: usize = 0; i < CONTEXTS; i++) store<u16>(odds + (i << 1), HALF);
  for (let i = 0; i < 4; i++) next();
  let to = load<usize>(START);
  const end = load<usize>(END);
  let offset: usize = 0;
  let wasRepetition: usize = 0;
  while (to < end) {
    if (bit(wasRepetition) == 0) {
      let byte: usize = 1;
      while (byte < 256) byte = (byte << 1) | bit(LITERAL + byte);
      store<u8>(to++, <u8>byte);
      wasRepetition = 0;
      continue;
    }
    if (wasRepetition != 0 || bit(REPEAT) == 0) offset = number(OFFSET);
    for (let length = number(LENGTH); length != 0; length--, to++) store<u8>(to, load<u8>(to - offset));
    wasRepetition = 1;
  }
  memory.fill(odds, 0, from - odds);
}

unpack();
