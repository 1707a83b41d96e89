/** Inputs that are kept: one file of JSON lines per target, the smallest ones that reach all that was reached. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Status } from '../test/unit/filter.ts';
import { fromLine, inputBytes, TARGETS, toLine, type Input } from './input.ts';
import { COARSE, Reached, runInput } from './loop.ts';
import { SPACES } from './spaces.ts';
import type { World } from './world.ts';

export const CORPUS_FOLDER = fileURLToPath(new URL('corpus', import.meta.url));
/** All files together stay below this. */
export const MAX_CORPUS_BYTES = 400 * 1024;
/** What one kept input may take; larger ones repeat what smaller ones do. */
const MAX_INPUT_BYTES = 1024;

function fileOf(folder: string, target: string): string {
  return join(folder, `${target}.jsonl`);
}

export function readLines(path: string): Input[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map(fromLine);
}

export function loadCorpus(folder: string = CORPUS_FOLDER): Input[] {
  return TARGETS.map((target) => fileOf(folder, target))
    .filter((path) => existsSync(path))
    .flatMap(readLines);
}

/** True when the schema and the key spaces still know what the input speaks of. */
export function isCurrentInput(input: Input, world: World): boolean {
  const typed = input.target === 'walker' || input.target === 'frames';
  return (
    SPACES.some((space) => space.name === input.space) &&
    (!typed || input.steps.every((step) => world.schema.messages.has(step.what)))
  );
}

/** Of what an input did, the part that is worth bytes in the repository: statuses, not each message's own. */
function summary(words: readonly string[], target: string): string[] {
  const statuses = words.map((word) => word.split(' ')[0] as string).filter((word) => word in Status);
  return statuses.map((status) => `${target} ${status}`);
}

/** The fewest of the inputs, small ones first, that reach what all of them reach. */
export function minimized(inputs: readonly Input[], world: World): Input[] {
  const reached = new Reached(world.blocks, COARSE);
  const small = inputs.filter((input) => inputBytes(input) <= MAX_INPUT_BYTES);
  return small
    .sort((a, b) => inputBytes(a) - inputBytes(b) || (toLine(a) < toLine(b) ? -1 : 1))
    .filter((input) => {
      let isNew = false;
      const ran = (words: string[]): void => {
        isNew = reached.add(world.coverage, summary(words, input.target));
      };
      return Array.isArray(runInput(input, world, { ran })) && isNew;
    });
}

/** Writes the corpus; gives the bytes that it takes. */
export function saveCorpus(inputs: readonly Input[], folder: string = CORPUS_FOLDER): number {
  mkdirSync(folder, { recursive: true });
  let bytes = 0;
  for (const target of TARGETS) {
    const lines = inputs.filter((input) => input.target === target).map(toLine);
    const path = fileOf(folder, target);
    if (lines.length === 0) rmSync(path, { force: true });
    else writeFileSync(path, `${lines.join('\n')}\n`);
    bytes += lines.reduce((sum, line) => sum + line.length + 1, 0);
  }
  return bytes;
}
