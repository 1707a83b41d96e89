/** Options that commands of moves have in common. */
import { existsSync } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import { CommandError } from '../../../errors.ts';
import { readClusters, type Clusters } from '../../../move/clusters.ts';
import type { Throttle } from '../../../move/record.ts';
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
}

export function withClusters(command: Command, isRequired = false): Command {
  const [flags, use] = ['--clusters <file>', 'describes clusters outside of the mesh, see docs/import.md'];
  return isRequired ? command.requiredOption(flags, use) : command.option(flags, use);
}

export function clustersOf({ clusters }: ClustersOptions): Clusters {
  if (clusters === undefined) return new Map();
  const found = readClusters(readText(clusters), clusters);
  // A connection would name the options of --pd.
  for (const [name, { ca, cert, key }] of found)
    for (const [field, path] of Object.entries({ ca, cert, key }))
      if (path !== undefined && !existsSync(path))
        throw new CommandError(
          'FILE',
          `${clusters}: ${name}: ${field}: there is no file ${path}`,
          'paths are relative to the folder of the file that names them',
        );
  return found;
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
