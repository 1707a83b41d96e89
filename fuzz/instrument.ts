/**
 * Rewrites the text form of the debug build, in which each instruction has a line of its own: every block counts how often it runs,
 * every load and store asks the shadow memory first, every loop costs a step, every allocation gets a guard behind it.
 */
import { COVERAGE, GRANULE, MAX_BLOCKS, MAX_MEMORY_BYTES, READ_ONLY, SHADOW } from './layout.ts';

export interface Instrumented {
  readonly text: string;
  readonly blocks: number;
  /** Which blocks each function has: from its first one on. */
  readonly functions: readonly { readonly name: string; readonly from: number }[];
}

/** Bytes behind every allocation that nobody may touch. */
const GUARD = 16;
/** What new memory of the arena is filled with: whoever reads it before it is written gives himself away. */
const FRESH = 0xa5;
/** Bytes copied that cost as much as one turn of a loop. */
const BYTES_PER_STEP = 16;

const ALLOC = '$~lib/rt/tlsf/__alloc';
const FREE = '$~lib/rt/tlsf/__free';
const REALLOC = '$~lib/rt/tlsf/__realloc';
const ARENA_ALLOC = '$assembly/memory/arena/alloc';
const ARENA_RESET = '$assembly/memory/arena/reset';
const ARENA_BASE = '$assembly/memory/arena/base';
const ARENA_USED = '$assembly/memory/arena/used';
const WRAPPED = new Set([ALLOC, FREE, REALLOC, ARENA_ALLOC, ARENA_RESET]);

/** The standard library reads one character behind a number, and does not use it. */
const UNCHECKED = new Set(['$~lib/util/string/strtod', '$~lib/util/string/parseExp']);

const raw = (name: string): string => `${name}|unchecked`;

const IMPORT = '(import "env" "violation" (func $fuzz/violation (param i32 i32 i32)))';

/** Adds to the module, see layout.ts. */
const SUPPORT = `
 (global $fuzz/steps (mut i64) (i64.const 0x7fffffffffffffff))
 (export "fuzzSteps" (global $fuzz/steps))
 (func $fuzz/spend (param $n i64)
  (global.set $fuzz/steps (i64.sub (global.get $fuzz/steps) (local.get $n)))
  (if (i64.lt_s (global.get $fuzz/steps) (i64.const 0)) (then
   (call $fuzz/violation (i32.const 2) (i32.const 0) (i32.const 0)))))
 (func $fuzz/check (param $p i32) (param $size i32) (param $write i32)
  (local $at i32) (local $end i32) (local $shadow i32) (local $next i32)
  (local.set $at (local.get $p))
  (local.set $end (i32.add (local.get $p) (local.get $size)))
  (if (i32.or (i32.lt_u (local.get $end) (local.get $p)) (i32.gt_u (local.get $end) (i32.const ${MAX_MEMORY_BYTES}))) (then
   (call $fuzz/violation (local.get $write) (local.get $p) (local.get $size)) (return)))
  (loop $more
   (if (i32.lt_u (local.get $at) (local.get $end)) (then
    (local.set $shadow (i32.load8_u offset=${SHADOW} (i32.shr_u (local.get $at) (i32.const 3))))
    (local.set $at (i32.and (local.get $at) (i32.const ${-GRANULE})))
    (local.set $next (i32.add (local.get $at) (i32.const ${GRANULE})))
    (if (i32.or
      (i32.lt_u (i32.add (local.get $at) (i32.and (local.get $shadow) (i32.const 15)))
       (select (local.get $next) (local.get $end) (i32.lt_u (local.get $next) (local.get $end))))
      (i32.and (i32.ne (local.get $write) (i32.const 0)) (i32.ge_u (local.get $shadow) (i32.const ${READ_ONLY})))) (then
     (call $fuzz/violation (local.get $write) (local.get $p) (local.get $size)) (return)))
    (local.set $at (local.get $next))
    (br $more)))))
 (func $fuzz/close (param $p i32) (param $size i32)
  (memory.fill (i32.add (i32.shr_u (local.get $p) (i32.const 3)) (i32.const ${SHADOW})) (i32.const 0)
   (i32.shr_u (i32.add (local.get $size) (i32.const ${GRANULE - 1})) (i32.const 3))))
 (func $fuzz/open (param $p i32) (param $size i32)
  (local $at i32)
  (local.set $at (i32.add (i32.shr_u (local.get $p) (i32.const 3)) (i32.const ${SHADOW})))
  (memory.fill (local.get $at) (i32.const ${GRANULE}) (i32.shr_u (local.get $size) (i32.const 3)))
  (if (i32.and (local.get $size) (i32.const 7)) (then
   (i32.store8 (i32.add (local.get $at) (i32.shr_u (local.get $size) (i32.const 3))) (i32.and (local.get $size) (i32.const 7))))))
 (func $fuzz/blockBytes (param $p i32) (result i32)
  (i32.and (i32.load (i32.sub (local.get $p) (i32.const 4))) (i32.const -4)))
 (func ${ALLOC} (param $size i32) (result i32) (local $p i32)
  (local.set $p (call ${raw(ALLOC)} (i32.add (local.get $size) (i32.const ${GUARD}))))
  (call $fuzz/close (local.get $p) (call $fuzz/blockBytes (local.get $p)))
  (call $fuzz/open (local.get $p) (local.get $size))
  (local.get $p))
 (func ${FREE} (param $p i32)
  (call $fuzz/check (local.get $p) (i32.const 1) (i32.const 1))
  (call $fuzz/close (local.get $p) (call $fuzz/blockBytes (local.get $p)))
  (call ${raw(FREE)} (local.get $p)))
 (func ${REALLOC} (param $p i32) (param $size i32) (result i32)
  (call $fuzz/close (local.get $p) (call $fuzz/blockBytes (local.get $p)))
  (local.set $p (call ${raw(REALLOC)} (local.get $p) (i32.add (local.get $size) (i32.const ${GUARD}))))
  (call $fuzz/open (local.get $p) (local.get $size))
  (local.get $p))
 (func ${ARENA_ALLOC} (param $size i32) (result i32) (local $p i32) (local $first i32)
  (local.set $first (i32.eqz (global.get ${ARENA_BASE})))
  (local.set $p (call ${raw(ARENA_ALLOC)} (i32.add (local.get $size) (i32.const ${GUARD}))))
  (if (local.get $first) (then
   (call $fuzz/close (global.get ${ARENA_BASE}) (call $fuzz/blockBytes (global.get ${ARENA_BASE})))))
  (call $fuzz/close (local.get $p) (i32.add (local.get $size) (i32.const ${GUARD})))
  (call $fuzz/open (local.get $p) (local.get $size))
  (memory.fill (local.get $p) (i32.const ${FRESH}) (local.get $size))
  (local.get $p))
 (func ${ARENA_RESET}
  (if (global.get ${ARENA_BASE}) (then (call $fuzz/close (global.get ${ARENA_BASE}) (global.get ${ARENA_USED}))))
  (call ${raw(ARENA_RESET)}))
 (func $fuzz/copy (param $to i32) (param $from i32) (param $size i32)
  (call $fuzz/check (local.get $from) (local.get $size) (i32.const 0))
  (call $fuzz/check (local.get $to) (local.get $size) (i32.const 1))
  (call $fuzz/spend (i64.extend_i32_u (i32.div_u (local.get $size) (i32.const ${BYTES_PER_STEP}))))
  (memory.copy (local.get $to) (local.get $from) (local.get $size)))
 (func $fuzz/fill (param $to i32) (param $byte i32) (param $size i32)
  (call $fuzz/check (local.get $to) (local.get $size) (i32.const 1))
  (call $fuzz/spend (i64.extend_i32_u (i32.div_u (local.get $size) (i32.const ${BYTES_PER_STEP}))))
  (memory.fill (local.get $to) (local.get $byte) (local.get $size)))
`;

const ACCESS = /^\s*(i32|i64|f32|f64|v128)\.(load|store)(\w*)((?: (?:offset|align)=\d+)*)$/;

function accessBytes(type: string, suffix: string): number {
  const narrow = /^(\d+)/.exec(suffix)?.[1];
  if (narrow !== undefined) return Number(narrow) / 8;
  return type === 'v128' ? 16 : Number(type.slice(1)) / 8;
}

/** A function that checks and then does one kind of load or store. */
class Accesses {
  readonly functions = new Map<string, string>();

  nameOf(type: string, what: string, suffix: string, immediates: string): string {
    const offset = Number(/offset=(\d+)/.exec(immediates)?.[1] ?? 0);
    const name = `$fuzz/${type}.${what}${suffix}+${offset}`;
    if (!this.functions.has(name)) {
      const isStore = what === 'store';
      const check = `(call $fuzz/check (i32.add (local.get $p) (i32.const ${offset})) (i32.const ${accessBytes(type, suffix)}) (i32.const ${isStore ? 1 : 0}))`;
      const operation = `${type}.${what}${suffix} offset=${offset}`;
      this.functions.set(
        name,
        isStore
          ? `(func ${name} (param $p i32) (param $v ${type}) ${check} (${operation} (local.get $p) (local.get $v)))`
          : `(func ${name} (param $p i32) (result ${type}) ${check} (${operation} (local.get $p)))`,
      );
    }
    return name;
  }
}

/** @throws Error when the compiler writes its text in another way than this reads. */
export function instrument(wat: string): Instrumented {
  const out: string[] = [];
  const accesses = new Accesses();
  const functions: { name: string; from: number }[] = [];
  let blocks = 0;
  let func = '';
  let inHead = false;
  let wrapped = 0;
  const count = (): void => {
    const at = COVERAGE + blocks++;
    out.push(`i32.const ${at} i32.const ${at} i32.load8_u i32.const 1 i32.add i32.store8`);
  };

  for (const line of wat.split('\n')) {
    const starts = /^ \(func (\$\S+)/.exec(line)?.[1];
    if (starts !== undefined) {
      func = starts;
      inHead = true;
      if (WRAPPED.has(starts)) {
        wrapped++;
        out.push(line.replace(starts, raw(starts)));
      } else out.push(line);
      continue;
    }
    if (line === ' )' || line === ')') {
      if (line === ')') out.push(SUPPORT, ...accesses.functions.values());
      func = '';
      out.push(line);
      continue;
    }
    if (func === '') {
      out.push(line);
      if (line.startsWith(' (import "env" "abort"')) out.push(IMPORT);
      continue;
    }
    const covered = func.startsWith('$assembly/');
    const checked = !func.startsWith('$~lib/rt/') && !WRAPPED.has(func) && !UNCHECKED.has(func);
    if (inHead && !line.startsWith('  (local ')) {
      inHead = false;
      if (covered) {
        functions.push({ name: func.slice(1), from: blocks });
        count();
      }
    }
    const instruction = line.trim();
    const access = checked ? ACCESS.exec(line) : null;
    if (access !== null) {
      const [, type = '', what = '', suffix = '', immediates = ''] = access;
      out.push(`call ${accesses.nameOf(type, what, suffix, immediates)}`);
    } else if (checked && instruction === 'memory.copy') out.push('call $fuzz/copy');
    else if (checked && instruction === 'memory.fill') out.push('call $fuzz/fill');
    else if (
      checked &&
      /^(memory\.|v128\.(load|store))/.test(instruction) &&
      !/^memory\.(size|grow)/.test(instruction)
    )
      throw new Error(`${func}: ${instruction} is not instrumented yet`);
    else out.push(line);
    if (/^loop\b/.test(instruction)) out.push('i64.const 1 call $fuzz/spend');
    if (covered && /^(loop|if|else|end|br_if)\b/.test(instruction)) count();
  }
  if (wrapped !== WRAPPED.size)
    throw new Error('the allocator has other names than the instrumentation knows');
  if (blocks > MAX_BLOCKS) throw new Error(`${blocks} blocks; there is room for ${MAX_BLOCKS}`);
  return { text: out.join('\n'), blocks, functions };
}
