/** `tidb-mesh move run`: works on moves until it is interrupted. */
import { Option } from 'commander';
import { CommandError } from '../../../errors.ts';
import { placesCheck } from '../../../move/all-places.ts';
import { makeEngine } from '../../../move/engine/engine-of.ts';
import { GONE_AFTER_MS } from '../../../move/filters/envoys.ts';
import { fileMesh, filtersAt } from '../../../move/filters/file-mesh.ts';
import type { OtherFilters } from '../../../move/filters/mesh.ts';
import { DEFAULT_LIMITS } from '../../../move/steps/limits.ts';
import type { OnAlarm } from '../../../move/steps/tools.ts';
import { Throttle } from '../../../move/engine/throttle.ts';
import { work } from '../../../move/worker.ts';
import { isGone, newWorkerId } from '../../../move/worker-id.ts';
import { listedTenants } from '../../../tenants/edit.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../../envoys.ts';
import { readText, withChangedConfig } from '../../files.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import {
  clustersOf,
  overStorages,
  parseGoneAfter,
  parseSeconds,
  throttleOf,
  withClusters,
  withThrottle,
  type ClustersOptions,
  type OpenStorage,
  type ThrottleOptions,
} from './options.ts';

interface Options extends ClustersOptions, EnvoyOptions, ThrottleOptions {
  readonly config: string;
  readonly apply?: string;
  readonly maxLag: number;
  readonly hold: number;
  readonly goneAfter: number;
  readonly holdAll: number;
  readonly alarm: OnAlarm;
  readonly untilDone?: boolean;
}

const SECOND_MS = 1000;

/** The Envoys and PDs of the storage layers beside that of --pd. */
function filtersOf(
  storages: ReadonlyMap<string, OpenStorage>,
  goneAfterMs: number,
): ReadonlyMap<string, OtherFilters> {
  return new Map(
    [...storages].map(([name, { pd, envoys }]) => [name, { ...filtersAt(envoys, goneAfterMs), pd }]),
  );
}

export const runMoves = pdCommand<Options, [string[]]>({
  name: 'move run',
  summary: 'work on moves: copy, follow, switch',
  about: `It does what the records in PD's etcd ask for, until it is interrupted. It may die at any moment: another
worker goes on. It writes each step into --config, and runs --apply to bring that to the Envoys. It needs
the address of every PD and store as --envoy, since all their filters must obey before a switch. Where its
standard error is no terminal, it is a log: a line for each step and each error.`,
  logs: true,
  examples: [
    [
      `tidb-mesh move run --config mesh.yaml --apply 'tidb-mesh render "$1" --out out && kubectl apply --server-side -k out/envoyfilter' --pd http://pd:2379 --envoy http://pd:2379 http://tikv-0:20160`,
      'for all moves',
    ],
  ],
  define: (command) =>
    withThrottle(
      withEnvoys(
        withClusters(
          withChangedConfig(
            command.argument('[names...]', 'only for these tenants', (name: string, names: string[] = []) => [
              ...names,
              parseName(name),
            ]),
            true,
          ),
        ),
        'every PD and store, by the address that it advertises',
      ),
      ' for all moves together',
    )
      .option('--apply <command>', 'shell command that brings the file, its $1, to the Envoys')
      .option(
        '--max-lag <seconds>',
        'how far behind a switch may begin',
        parseSeconds,
        DEFAULT_LIMITS.maxLagMs / SECOND_MS,
      )
      .option(
        '--hold <seconds>',
        'how long writes may be held',
        parseSeconds,
        DEFAULT_LIMITS.holdMs / SECOND_MS,
      )
      .option(
        '--hold-all <seconds>',
        'how long all requests may be held before a switch is given up',
        parseSeconds,
        DEFAULT_LIMITS.allHeldMs / SECOND_MS,
      )
      .option(
        '--gone-after <seconds>',
        'when an Envoy that does not answer any more is taken for dead: after the time in which yours drain',
        parseGoneAfter,
        GONE_AFTER_MS / SECOND_MS,
      )
      .addOption(
        new Option(
          '--alarm <what>',
          'what to do when somebody else writes where a tenant is not served: hold its requests, or only say so',
        )
          .choices(['stop', 'report'])
          .default('stop'),
      )
      .option('--until-done', 'end when no move is left'),
  run: async (pd, { args: [names = []], options, tell }) => {
    const { config, apply, maxLag, hold, holdAll, goneAfter, alarm, envoy = [], untilDone } = options;
    if (envoy.length === 0)
      throw new CommandError(
        'USAGE',
        'without the filters nothing can be switched safely',
        'give the address of every PD and store: --envoy URL…',
      );
    if (config === '-')
      throw new CommandError(
        'USAGE',
        '--config -: the standard input cannot be changed',
        'give the mesh file',
      );
    listedTenants(readText(config), config);
    const clusters = clustersOf(options);
    const all = new Throttle(throttleOf(options));
    const stop = new AbortController();
    const end = (): void => stop.abort();
    process.once('SIGINT', end).once('SIGTERM', end);
    const done: string[] = [];
    await overStorages(options, (storages) => {
      const others = filtersOf(storages, goneAfter * SECOND_MS);
      return overEnvoys(options, (envoys) =>
        work(
          {
            pd,
            mesh: fileMesh(config, apply, envoys, {
              others,
              goneAfterMs: goneAfter * SECOND_MS,
              check: placesCheck(config, { home: pd, others }),
            }),
            id: newWorkerId(),
            isGone: (id) => isGone(id),
            limits: {
              maxLagMs: maxLag * SECOND_MS,
              holdMs: hold * SECOND_MS,
              allHeldMs: holdAll * SECOND_MS,
            },
            onAlarm: alarm,
            engineOf: (record, isMine) => makeEngine(options, record, clusters, all, isMine),
            tell,
          },
          stop.signal,
          {
            ...(names.length > 0 ? { only: new Set(names) } : {}),
            ended: (tenant) => done.push(tenant),
            ...(untilDone ? { idle: end } : {}),
          },
        ),
      );
    });
    return { value: { ended: done }, text: done.length > 0 ? `ended: ${done.join(', ')}` : 'stopped' };
  },
});
