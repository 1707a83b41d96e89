/** `tidb-mesh move list` and `move show`. */
import { workedOn } from '../../../move/claims.ts';
import { otherOf } from '../../../move/diagnosis/diagnosis.ts';
import { lookAt, type Look, type Oldest } from '../../../move/diagnosis/look.ts';
import { summaryOf, type Summary } from '../../../move/diagnosis/show.ts';
import { moveOf, moves, type MoveRecord } from '../../../move/record.ts';
import { millisOf } from '../../../pd/timestamp.ts';
import { ageText } from '../../../tenants/holders.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../../envoys.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import { clustersOf, overStorages, withClusters, type ClustersOptions } from './options.ts';

export const listMoves = pdCommand<object, []>({
  name: 'move list',
  summary: 'list the tenants that are being moved',
  about: "Reads the records in PD's etcd. What needs you is marked: an alarm, a problem, no worker.",
  examples: ['tidb-mesh move list --pd http://pd:2379'],
  run: async (pd) => {
    const all = await moves(pd);
    const worked = await workedOn(pd, all);
    const value = all.map(({ record }) => summaryOf(record, worked.has(record.tenant)));
    const rows = value.map(({ tenant, state, from, to, progress, worker, problem }) => {
      const needs = [
        ...(worker === undefined ? ['no worker'] : []),
        ...(problem === undefined ? [] : ['problem']),
      ];
      return [tenant, [state, ...needs].join(', '), from, to, progress];
    });
    const head = ['TENANT', 'STATE', 'SERVED AT', 'COPIED TO', 'PROGRESS'];
    return { value, text: rows.length === 0 ? 'no tenant is being moved' : table(head, rows) };
  },
});

interface Options extends ClustersOptions, EnvoyOptions {
  readonly locks: boolean;
}

export const showMove = pdCommand<Options, [string]>({
  name: 'move show',
  summary: 'show how far a move is',
  about: `Reads its record in PD's etcd. "worker" is who works on it now. Asks the stores for the oldest lock, which
holds a switch back. With --envoy, asks the filters what they obey, and names each worker of Envoy that does not.`,
  examples: [
    'tidb-mesh move show alpha --pd http://pd:2379',
    [
      'tidb-mesh move show alpha --json --envoy http://pd:2379 http://tikv-0:20160 --pd http://pd:2379',
      'everything, for programs',
    ],
  ],
  define: (command) =>
    withEnvoys(
      withClusters(command.argument('<name>', "the tenant's name", parseName)),
      'asks them what they obey',
    ).option('--no-locks', 'do not ask the stores: only the record, and the filters'),
  run: async (pd, { args: [name], options }) => {
    const stored = await moveOf(pd, name);
    const { record } = stored;
    const summary = summaryOf(record, (await workedOn(pd, [stored])).has(name));
    const { locks } = options;
    const clusters = clustersOf(options);
    const other = otherOf(record)?.name ?? '';
    const look = await overStorages(options, (storages) =>
      overEnvoys(options, (envoys) =>
        lookAt(record, {
          endpoint: options,
          clusters,
          envoys: [...envoys, ...(storages.get(other)?.envoys ?? [])],
          locks,
        }),
      ),
    );
    return { value: { ...record, summary, ...look }, text: linesOf(record, summary, look) };
  },
});

function lockText({ tableId, table: name, ageMs, isPessimistic }: Oldest): string {
  const where = tableId === undefined ? "TiDB's own keys" : `table ${name ?? tableId}`;
  const kind = isPessimistic ? 'locked by an open transaction' : 'being committed';
  return `${where}, ${kind} for ${ageText(Date.now() - ageMs)}`;
}

function acknowledgedText({ acknowledged }: Look): string | undefined {
  if (!acknowledged) return undefined;
  const { vms, missing, phase, serial } = acknowledged;
  const here = phase === undefined ? `nobody knows serial ${serial}` : `serial ${serial}, phase ${phase}`;
  const lines = missing.map(({ vm, why }) => `\n${' '.repeat(13)}${vm}: ${why}`);
  return `${Math.max(0, vms - missing.length)} of ${vms} VMs obey (${here})${lines.join('')}`;
}

function linesOf(record: MoveRecord, summary: Summary, look: Look): string {
  const { oldestLock, tables = {}, failures } = look;
  const alarmed = (record.alarm?.commits ?? []).map(({ key, tableId = '', op, commitTs }) => {
    const when = new Date(millisOf(BigInt(commitTs))).toISOString();
    return `\n${' '.repeat(13)}${when} ${op} ${tables[tableId] ?? tableId} ${key}`;
  });
  const lines: (readonly [string, string | number | undefined])[] = [
    ['state', summary.state],
    ['served at', summary.from],
    ['copied to', summary.to],
    ['progress', summary.progress],
    ['switches', summary.switches],
    ['writes held', summary.heldMs === undefined ? undefined : `${summary.heldMs} ms at the last switch`],
    ['oldest lock', oldestLock === null ? 'none' : oldestLock && lockText(oldestLock)],
    ['filters', acknowledgedText(look)],
    ['worker', summary.worker ?? 'none: tidb-mesh move run'],
    ['ALARM', summary.alarm === undefined ? undefined : summary.alarm + alarmed.join('')],
    ['way back', summary.wayBackLost === undefined ? undefined : `lost: ${summary.wayBackLost}`],
    ['problem', summary.problem],
    ...failures.map((why) => ['not known', why] as const),
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name.padEnd(12)} ${value}`)
    .join('\n');
}
