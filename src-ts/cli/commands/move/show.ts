/** `tidb-mesh move list` and `move show`. */
import { moveOf, moves } from '../../../move/record.ts';
import { summaryOf, type Summary } from '../../../move/show.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';

export const listMoves = pdCommand<object, []>({
  name: 'move list',
  summary: 'list the tenants that are being moved',
  about: "Reads the records in PD's etcd.",
  examples: ['tidb-mesh move list --pd http://pd:2379'],
  run: async (pd) => {
    const value = (await moves(pd)).map(({ record }) => summaryOf(record));
    const rows = value.map(({ tenant, state, from, to, progress }) => [tenant, state, from, to, progress]);
    const head = ['TENANT', 'STATE', 'SERVED AT', 'COPIED TO', 'PROGRESS'];
    return { value, text: rows.length === 0 ? 'no tenant is being moved' : table(head, rows) };
  },
});

export const showMove = pdCommand<object, [string]>({
  name: 'move show',
  summary: 'show how far a move is',
  about: 'Reads its record in PD\'s etcd. "worker" is who works on it now.',
  examples: ['tidb-mesh move show alpha --pd http://pd:2379'],
  define: (command) => command.argument('<name>', "the tenant's name", parseName),
  run: async (pd, { args: [name] }) => {
    const { record } = await moveOf(pd, name);
    const summary = summaryOf(record);
    return { value: { ...record, summary }, text: linesOf(summary) };
  },
});

function linesOf(summary: Summary): string {
  const lines: (readonly [string, string | number | undefined])[] = [
    ['state', summary.state],
    ['served at', summary.from],
    ['copied to', summary.to],
    ['progress', summary.progress],
    ['switches', summary.switches],
    ['writes held', summary.heldMs === undefined ? undefined : `${summary.heldMs} ms at the last switch`],
    ['worker', summary.worker ?? 'none: tidb-mesh move run'],
    ['ALARM', summary.alarm],
    ['problem', summary.problem],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name.padEnd(12)} ${value}`)
    .join('\n');
}
