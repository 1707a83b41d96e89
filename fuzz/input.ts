/** What one run of the fuzzer feeds, in a form that can be kept in a file. */
import { createHash } from 'node:crypto';
import { UNLIMITED, type Way } from '../test/unit/filter.ts';

export const TARGETS = ['walker', 'frames', 'codec', 'http', 'config', 'text'] as const;
export type TargetName = (typeof TARGETS)[number];

export interface Step {
  /** What the bytes are: a message's name, a mapping of keys, a part of an HTTP request … */
  readonly what: string;
  readonly way: Way;
  readonly bytes: Uint8Array;
  /** Places at which a body is cut into pieces, ascending. */
  readonly cuts: readonly number[];
}

export interface Input {
  readonly target: TargetName;
  /** A name from spaces.ts. */
  readonly space: string;
  /** limits.maxMessageBytes and what a stream may hold; bytes. */
  readonly messageLimit: number;
  readonly heldLimit: number;
  /** On one stream, one after the other. */
  readonly steps: readonly Step[];
}

/** One line of a corpus file. */
export function toLine(input: Input): string {
  const { target, space, messageLimit, heldLimit, steps } = input;
  const limited = messageLimit !== UNLIMITED || heldLimit !== UNLIMITED;
  const written = steps.map(({ what, way, bytes, cuts }) => ({
    what,
    way,
    bytes: Buffer.from(bytes).toString('base64'),
    ...(cuts.length > 0 ? { cuts } : {}),
  }));
  return JSON.stringify({ target, space, ...(limited ? { messageLimit, heldLimit } : {}), steps: written });
}

/** @throws SyntaxError when the line is not one that `toLine` wrote. */
export function fromLine(line: string): Input {
  const read = JSON.parse(line) as Pick<Input, 'target' | 'space'> & {
    messageLimit?: number;
    heldLimit?: number;
    steps: { what: string; way: Way; bytes: string; cuts?: number[] }[];
  };
  if (!TARGETS.includes(read.target)) throw new SyntaxError(`there is no target ${String(read.target)}`);
  return {
    messageLimit: UNLIMITED,
    heldLimit: UNLIMITED,
    ...read,
    steps: read.steps.map(({ what, way, bytes, cuts }) => ({
      what,
      way,
      bytes: new Uint8Array(Buffer.from(bytes, 'base64')),
      cuts: cuts ?? [],
    })),
  };
}

export function digest(input: Input): string {
  return createHash('sha256').update(toLine(input)).digest('hex').slice(0, 16);
}

export function inputBytes(input: Input): number {
  return input.steps.reduce((sum, step) => sum + step.bytes.length, 0);
}

export function step(
  what: string,
  bytes: Uint8Array,
  way: Way = 'request',
  cuts: readonly number[] = [],
): Step {
  return { what, way, bytes, cuts };
}
