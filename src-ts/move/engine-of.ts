/** The engine that moves keys between two places of one storage layer. */
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import { deleteLabelRule, setLabelRule } from '../pd/regions.ts';
import { CommandError } from '../errors.ts';
import { waitForBoundaries } from '../tenants/boundaries.ts';
import { conflict, registered, registeredIn, ruleId, ruleOf } from '../tenants/registry.ts';
import { Applier } from './apply.ts';
import { copy, planCopy, presplit, rangeOfChunk, type CopyState } from './copy.ts';
import { Follower, type FollowState } from './feed.ts';
import type { Engine, Following } from './engine.ts';
import { KeyMap, keySpaceOf } from './key-space.ts';
import { carryLocks, dropPessimisticLocks, settle } from './locks.ts';
import { tenantAt, type Place } from './place.ts';
import type { MoveRecord } from './record.ts';
import { destroy, highestEpoch, isEmpty, keepHistory, releaseHistory } from './space.ts';
import { Storage, type Side } from './storage.ts';
import { Throttle } from './throttle.ts';

/** How long the source's history is kept without being asked for again, in seconds. */
const KEEP_SECONDS = 3600;
const BOUNDARIES_MS = 60_000;

/** The label rule of a move's target, beside the tenant's own. No tenant has a name with a dot. */
function targetRuleId(tenant: string): string {
  return `${ruleId(tenant)}.move`;
}

const isFollow = (progress: unknown): progress is FollowState =>
  typeof progress === 'object' && progress !== null && 'spans' in progress;

/** What an unfinished copy has read at, the earliest; undefined before it has begun. */
function readSince({ progress }: MoveRecord): bigint | undefined {
  const { copy: state } = (progress ?? {}) as { copy?: CopyState };
  const read = (state?.chunks ?? []).flatMap(({ readTs }) => (readTs === undefined ? [] : [BigInt(readTs)]));
  return read.length === 0 ? undefined : read.reduce((a, b) => (a < b ? a : b));
}

/** Both sides of a move: where the tenant is served, and its copy. */
export function sidesOf(
  storage: Storage,
  { tenant: name, number, from, to }: MoveRecord,
): { source: Side; target: Side } {
  const sideAt = (place: Place): Side => ({ storage, space: keySpaceOf(tenantAt({ name, number }, place)) });
  return { source: sideAt(from), target: sideAt(to) };
}

/** @param options how to reach PD and the stores, as a system principal */
export function makeEngine(options: EndpointOptions, record: MoveRecord): Engine {
  const storage = new Storage(new Endpoint(options));
  const { tenant: name, number, from, to } = record;
  const { source, target } = sidesOf(storage, record);
  const map = new KeyMap(source.space, target.space);
  const throttle = new Throttle(record.throttle);
  const parts = { source, target, map, throttle };
  /** The earliest timestamp that the move still reads at. */
  let kept: bigint | undefined;
  let follower: Follower | undefined;

  const reserve = async (): Promise<void> => {
    const others = (await registered(storage.pd)).filter(
      (other) => other.name !== name && ruleId(other.name) !== targetRuleId(name),
    );
    const clash = conflict(tenantAt({ name, number }, to), others);
    if (clash) throw new CommandError('REFUSED', clash.what, clash.hint);
    if (record.progress === undefined && !(await isEmpty(target)))
      throw new CommandError(
        'REFUSED',
        `there are keys at ${target.space.text} that the move has not written`,
        `give it up, and take another place: tidb-mesh move cancel ${name}`,
      );
    const rule = { ...ruleOf(tenantAt({ name, number }, to)), id: targetRuleId(name) };
    await setLabelRule(storage.pd, rule);
    const there = registeredIn(rule);
    const missing = there ? await waitForBoundaries(storage.pd, [there], BOUNDARIES_MS) : [];
    if (missing.length > 0)
      throw new CommandError(
        'REFUSED',
        `PD has not split at the boundaries of ${target.space.text}`,
        'see if PD schedules: tidb-mesh doctor',
      );
  };

  const follow = (checkpoint: FollowState): Following => {
    const applier = new Applier({ target, map, throttle });
    const made = Follower.from({ source, applier }, checkpoint);
    follower = made;
    return {
      get resolvedTs() {
        return made.resolvedTs();
      },
      get lagMs() {
        return made.lagMs();
      },
      get checkpoint() {
        return made.state();
      },
      failed: made.failed,
      stop: () => made.stop(),
    };
  };

  const oldest = ({ spans }: FollowState): bigint =>
    spans.map(({ checkpoint }) => BigInt(checkpoint)).reduce((a, b) => (a < b ? a : b));

  return {
    prepare: async () => {
      kept ??= readSince(record) ?? (await storage.timestamp());
      await keepHistory(storage, name, kept, KEEP_SECONDS);
      await reserve();
    },
    renew: async () => {
      if (follower) kept = oldest(follower.state());
      if (kept !== undefined) await keepHistory(storage, name, kept, KEEP_SECONDS);
    },
    copy: async (progress, saved, signal) => {
      const state = (progress as CopyState | undefined) ?? (await planCopy(source));
      await presplit(target, state, signal);
      const sum = (field: 'bytes' | 'keys'): number =>
        state.chunks.reduce((all, chunk) => all + chunk[field], 0);
      const done = (now: CopyState): Promise<void> =>
        saved(now, { bytes: sum('bytes'), keys: sum('keys'), ofBytes: now.ofBytes });
      await copy({ ...parts, state, signal, saved: done });
      return {
        spans: state.chunks.map((chunk) => {
          const { start, end } = rangeOfChunk(chunk);
          return { start: start.toString('hex'), end: end.toString('hex'), checkpoint: chunk.readTs ?? '0' };
        }),
      } satisfies FollowState;
    },
    equalAt: (timestamp) =>
      ({ spans: [{ start: '', end: '', checkpoint: String(timestamp) }] }) satisfies FollowState,
    follow: (checkpoint) => {
      if (!isFollow(checkpoint)) throw new Error('the record does not say where to follow from');
      kept = oldest(checkpoint);
      return Promise.resolve(follow(checkpoint));
    },
    limit: (rates) => throttle.set(rates),
    timestamp: () => storage.timestamp(),
    highestVersion: async () => (await highestEpoch(source)).version,
    readableSince: (progress) =>
      isFollow(progress)
        ? progress.spans.map(({ checkpoint }) => BigInt(checkpoint)).reduce((a, b) => (a > b ? a : b))
        : undefined,
    settle: async () => void (await settle(source, target, map)),
    carryLocks: async () => void (await carryLocks(source, target, map)),
    dropCarriedLocks: async () => void (await dropPessimisticLocks(target)),
    destroyTarget: async () => {
      // The keys of tenant 0 are no range of their own: the cluster's lie among them.
      if (target.space.start.length > 0) await destroy(target);
    },
    release: async () => {
      await releaseHistory(storage, name);
      await setLabelRule(storage.pd, ruleOf(tenantAt({ name, number }, from)));
      await deleteLabelRule(storage.pd, targetRuleId(name));
    },
    close: () => storage.close(),
  };
}
