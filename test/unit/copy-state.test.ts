/** The state of a copy lies in etcd in pieces: far below etcd's limit, whatever its size. */
import { describe, expect, test } from '@jest/globals';
import { isToKeep, type Chunk, type CopyState } from '../../src-ts/move/engine/copy.ts';
import { followFrom, Pieces, readableSince } from '../../src-ts/move/engine/copy-state.ts';
import type { Copied, Engine } from '../../src-ts/move/engine/engine.ts';
import { neededSince } from '../../src-ts/move/engine/engine-of.ts';
import { moveOf, save } from '../../src-ts/move/record.ts';
import { Move } from '../../src-ts/move/steps/move.ts';
import { rowKey } from '../harness/support/keys.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';
import { moveRecord } from '../harness/support/move-record.ts';

const REGIONS = 100_000;
const HALF_MIB = 2 ** 19;
const NONE: Copied = { bytes: 0, keys: 0, ofBytes: 1, since: '17' };

/** A chunk for each region: tables first, as planCopy has them, and TiDB's own keys last. */
function stateOf(keys: readonly string[]): CopyState {
  const borders = [...keys].sort();
  const tables = borders.map((start, i): Chunk => ({ start, end: borders[i + 1] ?? '', bytes: 0, keys: 0 }));
  return { chunks: [...tables, { start: '', end: borders[0] ?? '', bytes: 0, keys: 0 }], ofBytes: 9e12 };
}

const many = (): CopyState =>
  stateOf(Array.from({ length: REGIONS - 1 }, (_, i) => rowKey(100 + (i >> 10), i).toString('hex')));

function finish(chunk: Chunk, readTs: number): void {
  Object.assign(chunk, { readTs: String(readTs), next: chunk.end, isDone: true, bytes: 96e6, keys: 1e6 });
}

describe('pieces of a copy', () => {
  test('are small, and give the state back', () => {
    const state = many();
    for (const [i, chunk] of state.chunks.entries()) if (i % 3 === 0) finish(chunk, 1000 + i);
    state.chunks[1]!.readTs = '5';
    state.chunks[1]!.next = 'ff';
    const texts = [...new Pieces(state).all().values()];
    expect(Math.max(...texts.map(({ length }) => length))).toBeLessThan(HALF_MIB);
    const read = Pieces.read(texts);
    expect(read.ofBytes).toBe(state.ofBytes);
    expect(read.chunks).toHaveLength(REGIONS);
    const text = ({ start, end, readTs, next, isDone, bytes, keys }: Chunk): string =>
      [start, end, readTs, isDone ? '' : next, isDone, bytes, keys].join();
    const different = read.chunks.filter((chunk, i) => text(chunk) !== text(state.chunks[i]!));
    expect(different).toEqual([]);
    // They are cut where they were.
    const again = [...new Pieces(read).all().values()];
    expect(again.every((piece, i) => piece === texts[i])).toBe(true);
  });

  test('are small with the longest keys, too', () => {
    const long = (i: number): string => `${String(i).padStart(8, '0')}${'ab'.repeat(8188)}`;
    const state = stateOf(Array.from({ length: 500 }, (_, i) => long(i)));
    for (const chunk of state.chunks.slice(0, 3)) chunk.next = long(7);
    const texts = [...new Pieces(state).all().values()];
    expect(Math.max(...texts.map(({ length }) => length))).toBeLessThan(HALF_MIB);
  });

  test('cost far less than what is copied between two of them', () => {
    const state = stateOf(
      Array.from({ length: 3000 }, (_, i) => `${String(i).padStart(8, '0')}${'ab'.repeat(112)}`),
    );
    for (const chunk of state.chunks) finish(chunk, 1000);
    const largest = Math.max(...[...new Pieces(state).all().values()].map(({ length }) => length));
    // One for each file of 8 MB, of 256 chunks, was up to 1.7 %.
    expect(largest).toBeLessThan(20_000);
    expect([isToKeep(8 << 20, 80), isToKeep(64 << 20, 640), isToKeep(8 << 20, 10_000)]).toEqual([
      false,
      true,
      true,
    ]);
  });

  test('are cut where they were, by a worker that would cut them elsewhere', () => {
    const state = many();
    const texts = [...new Pieces({ ...state, firsts: [0, 500, 70_000] }).all().values()];
    expect(texts.length).toBe(3);
    const read = Pieces.read(texts);
    const again = new Pieces(read);
    expect([...again.all().values()].every((text, i) => text === texts[i])).toBe(true);
    expect([...again.with(read.chunks[600]!).keys()]).toEqual([1]);
  });

  test('a chunk changes its own piece only', () => {
    const state = many();
    const pieces = new Pieces(state);
    const before = pieces.all();
    const chunk = state.chunks[54_321]!;
    finish(chunk, 7);
    const changed = pieces.with(chunk);
    expect(changed.size).toBe(1);
    const after = pieces.all();
    expect([...after].filter(([i, text]) => before.get(i) !== text)).toEqual([...changed]);
  });

  test('a complete copy is followed by few ranges, each from its earliest chunk', () => {
    const state = many();
    for (const [i, chunk] of state.chunks.entries()) finish(chunk, 1000 + i);
    const { spans } = followFrom(state);
    expect(spans.length).toBeLessThanOrEqual(256);
    expect([spans[0]!.start, spans.at(-1)!.end]).toEqual(['', '']);
    for (const [i, { end }] of spans.slice(0, -1).entries()) expect(spans[i + 1]!.start).toBe(end);
    // The first one holds TiDB's own keys, which were copied last, and the first table.
    expect(spans[0]!.checkpoint).toBe('1000');
    expect(readableSince(state)).toBe(BigInt(1000 + REGIONS - 1));
  });
});

const at = (...checkpoints: string[]): object => ({
  spans: checkpoints.map((checkpoint) => ({ start: '', end: '', checkpoint })),
});

test.each<[string, unknown, bigint | undefined]>([
  ['nothing is copied', undefined, undefined],
  ['it is copied', { copied: { bytes: 1, keys: 1, ofBytes: 1, since: '7' }, pieces: 1 }, 7n],
  ['it is followed, and the watch is behind', { follow: at('9', '8'), watch: at('6') }, 6n],
  ['an import is followed, which has no watch', { follow: at('9') }, 9n],
  ['it has just been switched', { equalAt: '5' }, 5n],
  ['the way back is lost', {}, undefined],
])('what a move still needs when %s', (_, progress, since) => {
  expect(neededSince({ progress })).toBe(since);
});

describe('a copy of 100,000 regions in etcd', () => {
  test('another worker goes on where the first one died', async () => {
    const etcd = new EtcdModel();
    const record = moveRecord({ serial: 1, state: 'copying' });
    await save(etcd.endpoint, { record, revision: 0n });
    const seen: (string[] | undefined)[] = [];
    const work = async (copy: Engine['copy']): Promise<void> => {
      const life = new AbortController();
      const engine = {
        prepare: async () => undefined,
        renew: async () => undefined,
        limit: () => undefined,
        close: () => undefined,
        copy: async (...[pieces, saved]: Parameters<Engine['copy']>) => {
          seen.push(pieces && [...pieces]);
          await copy(pieces, saved, life.signal);
          life.abort();
          throw new Error('died');
        },
      } as unknown as Engine;
      const mesh = { hosts: [], tell: async () => undefined, vms: async () => [] };
      const tools = {
        pd: etcd.endpoint,
        mesh,
        id: `${seen.length}`,
        engineOf: () => engine,
        tell: () => undefined,
      };
      await new Move({ ...tools, isGone: () => true }, 'alpha', life.signal).run().catch(() => undefined);
    };
    const state = many();
    const pieces = new Pieces(state);
    // A plan that is there in part does not count.
    await work(async (_, saved) => {
      etcd.failAfter = 3;
      await expect(saved(pieces.all(), NONE)).rejects.toThrow('the model fails');
      etcd.failAfter = undefined;
    });
    await work(async (_, saved) => {
      await saved(pieces.all(), NONE);
      for (const at of [0, 70_000]) {
        finish(state.chunks[at]!, 9);
        await saved(pieces.with(state.chunks[at]!), { ...NONE, keys: at });
      }
    });
    await work(async () => undefined);
    expect(seen.slice(0, 2)).toEqual([undefined, undefined]);
    expect(seen[2]!.join() === [...pieces.all().values()].join()).toBe(true);
    expect(Pieces.read(seen[2]!).chunks.filter(({ isDone }) => isDone)).toHaveLength(2);
    expect(etcd.largest).toBeLessThan(1.5 * 2 ** 20);
    expect(JSON.stringify((await moveOf(etcd.endpoint, 'alpha')).record).length).toBeLessThan(1000);
  });
});
