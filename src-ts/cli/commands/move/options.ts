/** Options that commands of moves have in common. */
import { existsSync } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import { CommandError } from '../../../errors.ts';
import { readClusters, readStorages, type Clusters, type StorageAccess } from '../../../move/clusters.ts';
import type { Throttle } from '../../../move/record.ts';
import { Endpoint, type EndpointOptions } from '../../../pd/endpoint.ts';
import { MAX_KEYSPACE } from '../../../tenants/tenant.ts';
import { readText } from '../../files.ts';

export interface DryRunOptions {
  readonly dryRun?: boolean;
}

export function withDryRun(command: Command): Command {
  return command.option('--dry-run', 'check only, and change nothing');
}

export interface ThrottleOptions {
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
}

export interface ClustersOptions {
  readonly clusters?: string;
  readonly storages?: string;
}

export function withClusters(command: Command, isRequired = false): Command {
  const [flags, use] = ['--clusters <file>', 'describes clusters outside of the mesh, see docs/import.md'];
  return isRequired ? command.requiredOption(flags, use) : withStorages(command.option(flags, use));
}

export function withStorages(command: Command): Command {
  return command.option(
    '--storages <file>',
    'describes the other storage layers of the mesh file, see docs/move.md',
  );
}

/** All that has another PD: clusters outside of the mesh, and storage layers. @throws CommandError */
export function clustersOf(options: ClustersOptions): Clusters {
  const { clusters } = options;
  const found = clusters === undefined ? new Map() : readClusters(readText(clusters), clusters);
  if (clusters !== undefined) filesMustBe(found, clusters);
  const storages = storagesOf(options);
  for (const name of found.keys())
    if (storages.has(name))
      throw new CommandError(
        'INVALID',
        `${name} is a cluster in ${clusters ?? ''} and a storage in ${options.storages ?? ''}`,
        'give the cluster another name',
      );
  return new Map([...found, ...storages]);
}

/** The storage layers beside that of --pd. @throws CommandError */
export function storagesOf({ storages }: ClustersOptions): ReadonlyMap<string, StorageAccess> {
  if (storages === undefined) return new Map();
  const found = readStorages(readText(storages), storages);
  filesMustBe(found, storages);
  return found;
}

/** A storage layer beside that of --pd, with a connection to its PD and to each of its Envoys. */
export interface OpenStorage {
  readonly pd: Endpoint;
  readonly envoys: readonly Endpoint[];
}

/** Opens connections to the storage layers beside that of --pd while `act` runs. */
export async function overStorages<T>(
  options: ClustersOptions,
  act: (storages: ReadonlyMap<string, OpenStorage>) => Promise<T>,
): Promise<T> {
  const opened: Endpoint[] = [];
  const open = (reach: EndpointOptions): Endpoint => {
    const endpoint = new Endpoint(reach);
    opened.push(endpoint);
    return endpoint;
  };
  try {
    const storages = [...storagesOf(options)].map(
      ([name, { envoys, ...reach }]) =>
        [name, { pd: open(reach), envoys: envoys.map((pd) => open({ ...reach, pd })) }] as const,
    );
    return await act(new Map(storages));
  } finally {
    for (const endpoint of opened) endpoint.close();
  }
}

/** A connection would name the options of --pd. */
function filesMustBe(found: Clusters, path: string): void {
  for (const [name, { ca, cert, key }] of found)
    for (const [field, file] of Object.entries({ ca, cert, key }))
      if (file !== undefined && !existsSync(file))
        throw new CommandError(
          'FILE',
          `${path}: ${name}: ${field}: there is no file ${file}`,
          'paths are relative to the folder of the file that names them',
        );
}

/** Reads a whole number. @param what says in errors what it must be */
function wholeNumber(from: number, to: number, what: string): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= from && value <= to) return value;
    throw new InvalidArgumentError(`It must be ${what}.`);
  };
}

const parseRate = wholeNumber(1, Number.MAX_SAFE_INTEGER, 'a whole number from 1');
export const parseSeconds = wholeNumber(1, 600, 'a whole number of seconds from 1 to 600');
export const parseGoneAfter = wholeNumber(1, 86_400, 'a whole number of seconds from 1 to 86400');
export const parseKeyspace = wholeNumber(0, MAX_KEYSPACE, `a whole number from 0 to ${MAX_KEYSPACE}`);

/** @param whose what is limited, where that is not the one move */
export function withThrottle(command: Command, whose = ''): Command {
  return command
    .option('--bytes-per-second <n>', `how much to copy in a second${whose}; without it, no limit`, parseRate)
    .option('--requests-per-second <n>', `how many requests to send in a second${whose}`, parseRate);
}

export function throttleOf({ bytesPerSecond, requestsPerSecond }: ThrottleOptions): Throttle {
  return {
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
  };
}
