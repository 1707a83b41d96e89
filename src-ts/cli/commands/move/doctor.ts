/** `tidb-mesh move doctor`: explains moves and imports that are half-way, and the ways out. */
import { EXIT } from '../../../errors.ts';
import type { Commands, Diagnosis, Told, Way } from '../../../move/diagnosis/diagnosis.ts';
import { examineMoves } from '../../../move/diagnosis/doctor.ts';
import type { Order } from '../../../move/filters/mesh.ts';
import { NO_TIME_YET, placeOf, placeText, tenantAt, type Place } from '../../../move/place.ts';
import type { EndpointOptions } from '../../../pd/endpoint.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../../envoys.ts';
import { configSources } from '../../../config/sources.ts';
import { sideOf, type Side } from '../../../storages/placed.ts';
import { listedTenants } from '../../../tenants/edit.ts';
import { inFile, noConfig, readText, withConfig } from '../../files.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import { clustersOf, overStorages, withClusters, type ClustersOptions } from './options.ts';

interface Options extends ClustersOptions, EnvoyOptions {
  readonly config?: string;
}

export const doctorMoves = pdCommand<Options, [string | undefined]>({
  name: 'move doctor',
  summary: 'explain moves and imports that are half-way, and the ways out',
  about: `Says for each tenant, or for one, what its move waits for: where the tenant is served now, whether its
requests are held, whether a worker lives, and what holds the move. Then it gives the commands of both
ways out, forward and back. It changes nothing.

With --clusters, it asks the clusters that are imported, and with --storages the other storage layers and
their Envoys. With --envoy, it asks the filters which phase they obey. With --config, it finds tenants that the file calls moving and PD does not, and can say
something when PD is gone.`,
  examples: [
    'tidb-mesh move doctor --pd http://pd:2379',
    [
      'tidb-mesh move doctor alpha --clusters clusters.yaml --config mesh.yaml --pd http://pd:2379 --envoy http://pd:2379 http://tikv-0:20160',
      'all that can be known of one tenant',
    ],
    [
      'tidb-mesh move doctor alpha --storages storages.yaml --config mesh.yaml --pd http://pd-b:2379 --envoy http://pd-b:2379 http://tikv-b:20160',
      'a move between two storage layers',
    ],
  ],
  exits: {
    [EXIT.ok]: 'no tenant is half-way, or all go on by themselves',
    [EXIT.failed]: 'something needs you',
  },
  define: (command) =>
    withEnvoys(
      withClusters(
        withConfig(
          command.argument('[name]', 'only the move of this tenant', parseName),
          'what the filters are told',
        ),
      ),
      'asks them what they obey',
    ),
  run: async (pd, { args: [only], options, tell }) => {
    tell('asking PD, the clusters and the filters');
    const { config } = options;
    const found = await overStorages(options, (storages) =>
      overEnvoys(options, (envoys) =>
        examineMoves(pd, {
          endpoint: options,
          clusters: clustersOf(options),
          envoys,
          others: new Map([...storages].map(([name, { envoys: its }]) => [name, its])),
          ...(config === undefined ? {} : { told: toldIn(config) }),
          ...(only === undefined ? {} : { only }),
          commands: commandsFor(options),
        }),
      ),
    );
    return {
      value: found,
      text: reportOf(found, only),
      exit: found.some(({ needsYou }) => needsYou) ? EXIT.failed : EXIT.ok,
    };
  },
});

/** A tenant of a pluginConfig or of a mesh file, as far as it is read here. */
interface Entry extends Place {
  readonly name: string;
  readonly number: number;
  readonly move?: Order;
  readonly movedFrom?: string | Side;
}

/** The tenants of a configuration. Of several storage layers, each tenant is once in the file. */
function entriesIn(path: string): {
  readonly entries: readonly Entry[];
  readonly storages: readonly string[];
} {
  const text = readText(path);
  const sources = inFile(path, () => configSources(text));
  const storages = [...new Set(sources.flatMap(({ storage }) => storage ?? []))];
  if (sources.length > 1 && storages.length > 0)
    return { entries: listedTenants(text, path).plain as readonly unknown[] as readonly Entry[], storages };
  const [first] = sources;
  if (first === undefined) throw noConfig(path);
  return { entries: (JSON.parse(first.text) as { tenants?: readonly Entry[] }).tenants ?? [], storages: [] };
}

/** The tenants that a configuration calls moving. */
export function toldIn(path: string): Told[] {
  const { entries, storages } = entriesIn(path);
  return entries.flatMap(({ move, storage, movedFrom, ...tenant }) => {
    if (!move) return [];
    const at = storage === undefined ? {} : { storage };
    const before = movedFrom === undefined ? undefined : sideOf(movedFrom).storage;
    const isHandedOver = tenant.latestSeen === NO_TIME_YET && before !== undefined;
    return [
      {
        tenant: tenant.name,
        place: placeText(tenant, { ...placeOf({ ...tenant }), ...at }),
        order: move,
        ...at,
        ...(storage === undefined ? {} : { storages, keys: tenantAt(tenant, placeOf({ ...tenant })) }),
        ...(isHandedOver ? { handedOverBy: before } : {}),
      },
    ];
  });
}

/** As a shell reads it. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

const WAITING: readonly string[] = ['switch', 'reverse', 'complete', 'cancel'];

/** Commands that reach PD as this one did. */
export function commandsFor(options: Options & EndpointOptions): Commands {
  const { pd, cert, key, ca, serverName, config, clusters, storages, envoy = [] } = options;
  const flags = (all: Readonly<Record<string, string | undefined>>): string =>
    Object.entries(all)
      .flatMap(([name, value]) => (value === undefined ? [] : [` --${name} ${quoted(value)}`]))
      .join('');
  const reach = flags({ pd, cert, key, ca, 'server-name': serverName });
  const envoys = envoy.length === 0 ? 'URL…' : envoy.map(quoted).join(' ');
  return {
    verb: (verb, tenant, option) =>
      `tidb-mesh move ${verb} ${tenant}${option === undefined ? '' : ` ${option}`}${WAITING.includes(verb) ? ' --wait' : ''}${reach}`,
    run: () =>
      `tidb-mesh move run${flags({ clusters, storages, config: config ?? 'FILE' })} --apply COMMAND${reach} --envoy ${envoys}`,
  };
}

const WIDTH = 10;

function wayLines(name: string, { what, isOpen, commands }: Way): string[] {
  return [
    `  ${name.padEnd(WIDTH)} ${isOpen ? '' : 'closed: '}${what}`,
    ...commands.map((command) => `  ${' '.repeat(WIDTH)} $ ${command}`),
  ];
}

function linesOf(diagnosis: Diagnosis): string[] {
  const { tenant, state, needsYou, means, served, requests, worker, holds, forward, back, failures } =
    diagnosis;
  const line = (name: string, text: string): string => `  ${name.padEnd(WIDTH)} ${text}`;
  return [
    `${tenant}: ${state}${needsYou ? ', NEEDS YOU' : ''}`,
    line('means', means),
    line('served', served),
    line('requests', requests),
    line('worker', worker),
    ...(holds.length === 0 ? [line('held by', 'nothing')] : holds.map((one) => line('held by', one))),
    ...wayLines('forward', forward),
    ...wayLines('back', back),
    ...failures.map((one) => line('not known', one)),
  ];
}

function reportOf(found: readonly Diagnosis[], only: string | undefined): string {
  if (found.length === 0) return only === undefined ? 'no tenant is half-way' : `${only} is not half-way`;
  const needing = found.filter(({ needsYou }) => needsYou).length;
  const count = found.length === 1 ? '1 tenant is half-way' : `${found.length} tenants are half-way`;
  return [...found.flatMap((one) => [...linesOf(one), '']), `${count}, ${needing} of them need you`].join(
    '\n',
  );
}
