/** Options that commands of moves have in common. */
import { InvalidArgumentError, type Command } from 'commander';
import { readClusters, type Clusters } from '../../../move/clusters.ts';
import type { Throttle } from '../../../move/record.ts';
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
  return clusters === undefined ? new Map() : readClusters(readText(clusters), clusters);
}

function parseRate(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError(`${text}: it must be a whole number from 1`);
}

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
