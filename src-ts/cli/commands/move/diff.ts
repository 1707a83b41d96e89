/** `tidb-mesh move diff`: compares both sides of a move. */
import { EXIT } from '../../../errors.ts';
import type { DiffResult, Dropped } from '../../../move/engine/diff.ts';
import { compareSides } from '../../../move/diagnosis/compare.ts';
import { moveOf } from '../../../move/record.ts';
import type { EndpointOptions } from '../../../pd/endpoint.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import { clustersOf, withClusters, type ClustersOptions } from './options.ts';

const MIB = 2 ** 20;

export const diffMove = pdCommand<ClustersOptions & EndpointOptions, [string]>({
  name: 'move diff',
  summary: 'compare both sides of a move, while it goes on',
  about: `The stores compute checksums of both sides at one timestamp. Where they differ, ranges are halved down to
the keys. Nothing is stopped. While it compares, it keeps garbage collection from that timestamp, on both
sides. Keys of dropped tables that only the target has are counted apart, and are no difference.`,
  examples: ['tidb-mesh move diff alpha --pd http://pd:2379'],
  exits: { [EXIT.ok]: 'equal', [EXIT.failed]: 'different, or refused' },
  define: (command) => withClusters(command.argument('<name>', "the tenant's name", parseName)),
  run: async (pd, { args: [name], options, tell }) => {
    const { record } = await moveOf(pd, name);
    const result = await compareSides(options, clustersOf(options), record, (done, of) =>
      tell(`${done} of ${of} ranges`),
    );
    const value = { ...result, ts: String(result.ts) };
    return {
      value,
      text: textOf(name, result),
      exit: result.differences.length > 0 ? EXIT.failed : EXIT.ok,
    };
  },
});

function droppedText({ keys, tableIds }: Dropped): string {
  if (keys === 0) return '';
  return `\n${keys} keys that only the target has are of dropped tables, which nobody can read: id ${tableIds.join(', ')}`;
}

function textOf(name: string, { keys, bytes, differences, isCut, ts, dropped }: DiffResult): string {
  const what = `${keys} keys, ${(bytes / MIB).toFixed(1)} MiB, at ${ts}`;
  if (differences.length === 0) return `${name}: both sides are equal: ${what}${droppedText(dropped)}`;
  const rows = differences.map(({ key, tableId, what: how }) => [key, tableId ?? '-', how]);
  const more = isCut ? '\nand more' : '';
  return `${name}: the sides differ: ${what}\n${table(['KEY', 'TABLE', 'WHAT'], rows)}${more}${droppedText(dropped)}`;
}
