/** Messages of 100 B to 16 MB and of 1 to 100,000 keys, through the rewriter alone. */
import { spaceOf } from '../test/harness/model/key-spaces.ts';
import { messageId } from '../test/harness/model/schema.ts';
import type { SpaceChoice } from '../test/unit/filter.ts';
import type { Subject } from './growth.ts';
import { coprocessorResponseOf, prewriteOf, type TypicalMessage } from './messages.ts';
import { BenchWasm } from './wasm.ts';

const PREFIX = '/tidb-mesh/alpha:';
const SPACES: { name: string; choice: SpaceChoice }[] = [
  { name: 'keyspace', choice: { number: 1, keyspace: { id: 7, mode: 'txn' } } },
  { name: 'table', choice: { number: 1 } },
];
const SIZES = [100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000, 16_000_000];
const KEYS = [1, 10, 100, 1_000, 10_000, 100_000];

export function messageSubjects(): Subject[] {
  return SPACES.flatMap(({ name, choice }, i) => {
    const wasm = new BenchWasm(choice, PREFIX);
    const subjectsOf = (along: string, at: number, message: TypicalMessage): Subject[] => {
      const loaded = wasm.load(messageId(message.type), message.bytes, message.way);
      const ours = { curve: `${along}, ${name} codec`, along, at, run: (n: number) => wasm.run(loaded, n) };
      if (i !== 0) return [ours];
      const copy = { curve: `${along}, memcpy`, along, at, run: (n: number) => wasm.copy(loaded, n) };
      return [ours, { ...copy, isReference: true }];
    };
    return [
      ...SIZES.flatMap((size) => subjectsOf('bytes', size, coprocessorResponseOf(size, spaceOf(choice)))),
      ...KEYS.flatMap((keys) => subjectsOf('keys', keys, prewriteOf(keys))),
    ];
  });
}
