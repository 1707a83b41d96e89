/** `tidb-mesh move switch` and its kin: what an operator asks of a move. */
import type { Command } from 'commander';
import { CommandError, EXIT } from '../../../errors.ts';
import { compareSides } from '../../../move/diagnosis/compare.ts';
import { keptText } from '../../../move/diagnosis/kept-copy.ts';
import { summaryOf } from '../../../move/diagnosis/show.ts';
import { placeText } from '../../../move/place.ts';
import { moveOf, type MoveRecord } from '../../../move/record.ts';
import { ask, fulfilled, type Verb } from '../../../move/wishes.ts';
import type { EndpointOptions } from '../../../pd/endpoint.ts';
import type { Tell } from '../../../tell.ts';
import type { Definition, Result } from '../../definition.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import {
  clustersOf,
  throttleOf,
  withClusters,
  withDryRun,
  type ClustersOptions,
  withThrottle,
  type DryRunOptions,
  type ThrottleOptions,
} from './options.ts';

interface Options extends ClustersOptions, DryRunOptions, ThrottleOptions, EndpointOptions {
  readonly wait?: boolean;
  readonly verify?: boolean;
  readonly otherIsGone?: boolean;
  /** Of `cancel`. */
  readonly withoutCluster?: boolean;
  readonly withoutStorage?: boolean;
}

const WAIT_MS = 600_000;

interface Wording {
  readonly summary: string;
  readonly about: string;
  /** What the record then says. */
  readonly asked: string;
  /** Something can be waited for. */
  readonly waits?: boolean;
  /** Both sides can be compared first. */
  readonly verifies?: boolean;
  /** Options of the example. */
  readonly shown?: string;
  readonly define?: (command: Command) => Command;
}

function wishCommand(
  verb: Verb,
  { summary, about, asked, waits = false, verifies = false, shown = '', define }: Wording,
): Definition<never, never> {
  return pdCommand<Options, [string]>({
    name: `move ${verb}`,
    summary,
    about,
    examples: [`tidb-mesh move ${verb} alpha ${waits ? '--wait ' : shown}--pd http://pd:2379`],
    exits: { [EXIT.failed]: waits ? 'refused, or not done; it says where the tenant is served' : 'refused' },
    define: (command) => {
      const plain = withDryRun(command.argument('<name>', "the tenant's name", parseName));
      define?.(plain);
      if (waits) plain.option('--wait', 'wait until it is done, for ten minutes at most');
      if (verifies)
        withClusters(plain.option('--verify', 'compare both sides first, and refuse if they differ'));
    },
    run: async (pd, { args: [name], options, tell }): Promise<Result> => {
      const { dryRun = false, otherIsGone = false, withoutCluster = false, withoutStorage = false } = options;
      const manner = { throttle: throttleOf(options), otherIsGone, withoutCluster, withoutStorage };
      const before = (await moveOf(pd, name)).record;
      const { switches, createdAt } = before;
      // What does not fit is refused before a long comparison.
      if (options.verify) {
        await ask(pd, name, verb, { ...manner, dryRun: true });
        await verify(options, before, tell);
      }
      const record = await ask(pd, name, verb, { ...manner, dryRun });
      // Nothing says it any more when the move has ended.
      const kept = withoutStorage ? `; the copy is kept, and nobody serves it: ${keptText(record)}` : '';
      if (dryRun) return { value: record, text: `${name}: ${verb} is possible; nothing was changed${kept}` };
      if (!options.wait) return { value: record, text: `${name}: ${asked}${kept}` };
      const show = (now: MoveRecord): void => tell(`${name}: ${summaryOf(now).state}`);
      const ended = await fulfilled(pd, name, { verb, switches, createdAt, timeoutMs: WAIT_MS, tell: show });
      const end = { tenant: name, ended: true, ...(withoutStorage ? { copy: keptText(record) } : {}) };
      return { value: ended ?? end, text: doneText(name, ended) + kept };
    },
  }) as Definition<never, never>;
}

/** @throws CommandError when both sides differ, or cannot be compared */
async function verify(
  options: ClustersOptions & EndpointOptions,
  record: MoveRecord,
  tell: Tell,
): Promise<void> {
  const { tenant } = record;
  const show = (done: number, of: number): void => tell(`${tenant}: ${done} of ${of} ranges compared`);
  const { differences, isCut } = await compareSides(options, clustersOf(options), record, show);
  if (differences.length === 0) return;
  throw new CommandError(
    'REFUSED',
    `${tenant}: both sides differ in ${isCut ? 'more than ' : ''}${differences.length} keys`,
    `nothing was asked for; see which: tidb-mesh move diff ${tenant}`,
  );
}

function doneText(name: string, record: MoveRecord | undefined): string {
  if (!record) return `the move of ${name} has ended`;
  const held = record.history.at(-1);
  const times = held ? `; writes were held for ${held.writesHeldMs} ms, reads for ${held.allHeldMs} ms` : '';
  return `${name} is served at ${placeText(record, record.from)}${times}`;
}

export const switchMove = wishCommand('switch', {
  summary: 'serve the tenant at its new place, reads and writes together',
  about: `Holds the tenant's writes for a moment, lets the copy catch up, and tells every Envoy the new place. Clients
notice a pause. Of an import, the cluster's TiDBs must be stopped before. From then on, changes go the other
way, so that \`move reverse\` loses nothing. If anything fails, the tenant stays where it is.`,
  asked: 'will be switched; see: tidb-mesh move show',
  waits: true,
  verifies: true,
});

export const reverseMove = wishCommand('reverse', {
  summary: 'serve the tenant at its old place again, with all that was written meanwhile',
  about: 'The same as `move switch`, the other way. It can be done any number of times.',
  asked: 'will be switched back; see: tidb-mesh move show',
  waits: true,
  verifies: true,
});

export const completeMove = wishCommand('complete', {
  summary: 'end a move that was switched, and destroy the old copy',
  about: `There is no way back afterwards: the keys at the old place are destroyed. Of an import, nothing is destroyed
at the cluster. With --other-is-gone, the tenant stays at the storage layer it was moved to, and nothing is asked of
the other one any more: what is left there stays.`,
  asked: 'will be completed',
  waits: true,
  verifies: true,
  define: (command) =>
    command.option(
      '--other-is-gone',
      'the storage layer that the tenant has left is gone for good: end the move without it',
    ),
});

export const cancelMove = wishCommand('cancel', {
  summary: 'give a move up, and destroy the copy',
  about: `The tenant goes on where it is. A move that was switched is reversed first: \`move reverse\`. The copy of
a cluster or storage layer that does not answer may be the last one, and is kept until that answers. With
--without-cluster, it is destroyed all the same. With --without-storage, the move ends and the copy is kept: the
tenant is suspended, so nobody serves it, and the command says what the copy has.`,
  asked: 'will be cancelled',
  waits: true,
  define: (command) =>
    command
      .option('--without-cluster', 'the imported cluster is gone for good: destroy the last copy')
      .option(
        '--without-storage',
        'the storage layer that serves the tenant is gone for good: end the move, and keep the copy',
      ),
});

export const pauseMove = wishCommand('pause', {
  summary: 'stop copying and following for a while',
  about: "What is copied stays. The store's old versions are kept meanwhile, so do not pause for days.",
  asked: 'is paused',
});

export const resumeMove = wishCommand('resume', {
  summary: 'go on with a paused move, or after an alarm',
  about: 'A worker goes on where the move was. After an alarm, the tenant is served again (docs/move.md).',
  asked: 'goes on',
});

export const throttleMove = wishCommand('throttle', {
  summary: 'change how fast a move copies',
  about: 'Without an option there is no limit any more.',
  asked: 'has a new limit',
  shown: '--bytes-per-second 10000000 ',
  define: withThrottle,
});
