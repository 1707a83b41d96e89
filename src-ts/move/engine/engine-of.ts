/** The engine that moves keys between two places: of one storage layer or two, or of a cluster outside of the mesh. */
import { CommandError } from '../../errors.ts';
import type { Endpoint, EndpointOptions } from '../../pd/endpoint.ts';
import { entries, type Entry } from '../../pd/etcd.ts';
import { deleteLabelRule, setLabelRule } from '../../pd/regions.ts';
import { waitForBoundaries } from '../../tenants/boundaries.ts';
import { registeredIn, ruleOf, targetRuleId } from '../../tenants/registry.ts';
import { clusterNamed, type Clusters } from '../clusters.ts';
import { isBetweenStorages, tenantAt, type Place } from '../place.ts';
import { isLeftClosed, type ForeignCommit, type MoveRecord } from '../record.ts';
import { mustBeHome, mustBeOther, SamePd } from '../same-pd.ts';
import { Applier } from './apply.ts';
import { followFrom, Pieces, readableSince } from './copy-state.ts';
import { copy, planCopy, presplit, type Chunk, type CopyState } from './copy.ts';
import type { Copied, Engine, Feed, Following } from './engine.ts';
import { carryEtcd, keepLeases, namesIn, raiseRevision } from './etcd.ts';
import { Follower, type FollowState } from './feed.ts';
import { carryGroups, type GroupSide } from './groups.ts';
import { KeyMap, keySpaceOf } from './key-space.ts';
import { carryLocks, countLocks, dropPessimisticLocks, endBegun, endExpired, settle } from './locks.ts';
import { carryServices, collectedTo, dropServices, keptBy, readSince, type ServiceSide } from './reads.ts';
import { isKept, reserve } from './reservation.ts';
import { RevisionGap } from './revision-gap.ts';
import { carryRules, takeRulesAlong, type RulesSide } from './rules.ts';
import { destroy, highestEpoch, isEmpty, keepHistory, lossOf, moveService, releaseHistory } from './space.ts';
import { stopper } from './stopper.ts';
import { Storage, type Side } from './storage.ts';
import { Throttle } from './throttle.ts';
import { Watcher, Written } from './watch.ts';

/** How long the source's history is kept without being asked for again, in seconds. */
const KEEP_SECONDS = 3600;
const BOUNDARIES_MS = 60_000;
/** TiDBs tell PD what they read twice a minute (infosync.ReportInterval). Until so long after a switch, some may not have. */
const REPORT_MS = 120_000;
/** A target that is so far behind, ms, may wait for a lock that nobody else ends. */
const STUCK_MS = 10_000;

/** Where to follow a copy from, and what can be read of it. */
interface CopyEnd extends FollowState {
  readonly readableSince?: string;
}

const isFollow = (progress: unknown): progress is FollowState =>
  typeof progress === 'object' && progress !== null && 'spans' in progress;

/** Since when a move needs the source's history, by its record; undefined before it has begun to copy. */
export function neededSince({ progress }: Pick<MoveRecord, 'progress'>): bigint | undefined {
  const { copied, follow, watch, equalAt } = (progress ?? {}) as {
    copied?: Copied;
    follow?: unknown;
    watch?: unknown;
    equalAt?: string;
  };
  const feeds = [follow, watch].filter(isFollow);
  if (feeds.length > 0) return oldest(feeds);
  const since = equalAt ?? copied?.since;
  return since === undefined ? undefined : BigInt(since);
}

/** How long a feed that is stopped may go on with what it has begun. */
const STOP_MS = 2000;

/** @param writing ends what is on its way to the target */
export function followingOf(follower: Follower, writing: AbortController, stopMs = STOP_MS): Following {
  return {
    get resolvedTs() {
      return follower.resolvedTs();
    },
    get lagMs() {
      return follower.lagMs();
    },
    get checkpoint() {
      return follower.state();
    },
    get trouble() {
      return follower.trouble();
    },
    failed: follower.failed,
    stop: async () => {
      const timer = setTimeout(() => writing.abort(), stopMs);
      await follower.stop().finally(() => clearTimeout(timer));
    },
  };
}

/** The earliest checkpoint. */
function oldest(states: readonly FollowState[]): bigint {
  return states
    .flatMap(({ spans }) => spans.map(({ checkpoint }) => BigInt(checkpoint)))
    .reduce((a, b) => (a < b ? a : b));
}

function stateIn(checkpoint: unknown): FollowState {
  if (isFollow(checkpoint)) return checkpoint;
  throw new Error('the record does not say where to follow from');
}

/** What is gone for good, also from the file that describes it. No name ends so (RFC 2606). */
const NOWHERE: EndpointOptions = { pd: 'http://gone.invalid:2379' };

/** Both sides of a move: where the tenant is served, and its copy. */
export interface Sides {
  readonly source: Side;
  readonly target: Side;
  /**
   * Asks both PDs, or that of one side, again who they are. One that does not answer is no other one.
   * @throws CommandError when an address leads to another PD than when the move began
   */
  verify(only?: Side): Promise<void>;
  close(): void;
}

/**
 * Opens both sides. Neither is asked for anything before its PD has shown that it is the one with which the move began.
 * @param options how to reach PD and the stores of the mesh, as a system principal
 * @param clusters those outside of the mesh, and the other storage layers of the mesh file
 * @param isMine see `Storage`
 * @throws CommandError when the record names another one
 */
export function sidesOf(
  options: EndpointOptions,
  clusters: Clusters,
  record: MoveRecord,
  isMine?: () => Promise<void>,
): Sides {
  const { tenant: name, number, from, to, home: homeName, isWithoutCluster, otherIsGone } = record;
  const homePd = new SamePd(options, (pd) => mustBeHome(pd, record), {
    side: homeName === undefined ? undefined : `storage ${homeName}`,
    isMine,
  });
  const home = new Storage(homePd, undefined, isMine);
  const opened = [home];
  const pds = [homePd];
  const sideAt = (place: Place): Side => {
    let storage = home;
    const elsewhere =
      place.cluster ?? (homeName === undefined || place.storage === homeName ? undefined : place.storage);
    if (elsewhere !== undefined) {
      const reach = isWithoutCluster || otherIsGone ? (clusters.get(elsewhere) ?? NOWHERE) : undefined;
      const kind = place.cluster === undefined ? 'storage' : 'cluster';
      const pd = new SamePd(
        reach ?? clusterNamed(clusters, elsewhere, kind),
        (unchecked) => mustBeOther(unchecked, homePd.unchecked, record, place),
        { side: `${kind} ${elsewhere}`, isMine },
      );
      pds.push(pd);
      storage = new Storage(pd, undefined, isMine);
      opened.push(storage);
    }
    return { storage, space: keySpaceOf(tenantAt({ name, number }, place)) };
  };
  const close = (): void => {
    for (const storage of opened) storage.close();
  };
  const verify = async (only?: Side): Promise<void> => {
    const meant = pds.filter((pd) => only === undefined || pd === only.storage.pd);
    const all = await Promise.allSettled(meant.map((pd) => pd.verify()));
    for (const one of all)
      if (one.status === 'rejected' && (one.reason as CommandError).code === 'REFUSED') throw one.reason;
  };
  try {
    return { source: sideAt(from), target: sideAt(to), verify, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** TiDB: pkg/domain/infosync ServerInformationPath. A TiDB that has died is there until its lease ends, a minute at most. */
const SERVERS = '/tidb/server/info/';

/** Addresses of the TiDBs of a cluster outside of the mesh. */
export async function tidbsOf(pd: Endpoint): Promise<string[]> {
  return (await entries(pd, SERVERS)).map(({ value }) => {
    try {
      const { ip, listening_port: port } = JSON.parse(value) as { ip?: string; listening_port?: number };
      return `${ip ?? '?'}:${port ?? '?'}`;
    } catch {
      return 'a TiDB of unknown address';
    }
  });
}

/**
 * See `sidesOf`. `all`: what the moves of this worker may do together.
 * @param isMine is asked right before each call that writes, and throws when another worker has the move
 */
export function makeEngine(
  options: EndpointOptions,
  record: MoveRecord,
  clusters: Clusters = new Map(),
  all = new Throttle(),
  isMine?: () => Promise<void>,
): Engine {
  const { tenant: name, number, from, to, otherIsGone = false } = record;
  const { source, target, verify, close } = sidesOf(options, clusters, record, isMine);
  const hasTwoPds = source.storage !== target.storage;
  const isBetween = isBetweenStorages(record);
  const service = moveService(name);
  const isImport = from.cluster !== undefined || to.cluster !== undefined;
  const isOutside = ({ storage }: Side): boolean =>
    (storage === source.storage ? from : to).cluster !== undefined;
  const map = new KeyMap(source.space, target.space);
  /** What the tenant had in the source's etcd before all was held. */
  let inEtcd: readonly Entry[] | undefined;
  const throttle = all.part(record.throttle);
  const parts = { source, target, map, throttle };
  const groupsAt = (side: Side, signal: AbortSignal): GroupSide => ({
    pd: side.storage.pd.until(signal),
    number: isOutside(side) ? undefined : number,
  });
  const rulesAt = (side: Side, signal?: AbortSignal): RulesSide => ({
    pd: signal ? side.storage.pd.until(signal) : side.storage.pd,
    space: side.space,
    tenant: !isOutside(side) && number !== 0 ? name : undefined,
    isOutside: isOutside(side),
  });
  /** The earliest timestamp that the move still reads at. */
  let kept = neededSince(record);
  /** When locks may be looked at again. */
  let nextLook = 0;
  const gap = isBetweenStorages(record) ? new RevisionGap(source.storage.pd, target.storage.pd) : undefined;
  const written = new Written(map);
  const followers: Follower[] = [];

  /** Since when versions are kept that the mover needs after `ts`, and the tenant perhaps before. */
  const since = async (ts: bigint): Promise<bigint> => {
    // Nothing older is copied than what is read then.
    if (!isBetween || record.state === 'planned' || record.state === 'copying') return ts;
    const isJustThere = Date.now() < (record.history.at(-1)?.at ?? 0) + REPORT_MS;
    const read = await readSince(source.storage.pd, name, isJustThere ? service : undefined);
    return read !== undefined && read < ts ? read : ts;
  };
  const readable = BigInt(to.readableSince ?? 0);
  /** @param at see `since`; undefined while the source does not answer: then nothing is given up */
  const keepTarget = async (ts: bigint, at: bigint | undefined): Promise<void> => {
    const { storage } = target;
    const first = at ?? (await keptBy(storage.pd, service)) ?? ts;
    await keepHistory(storage, service, ts, KEEP_SECONDS, first > readable ? first : readable);
  };

  const there = tenantAt({ name, number }, to);
  const reserveTarget = async (): Promise<void> => {
    if (record.progress === undefined && !(await isEmpty(target)))
      throw new CommandError(
        'REFUSED',
        `there are keys at ${target.space.text} that the move has not written`,
        `give it up, and take another place: tidb-mesh move cancel ${name}`,
      );
    const { pd } = target.storage;
    await reserve(pd, there);
    const rule = registeredIn(ruleOf(there));
    const missing = rule ? await waitForBoundaries(pd, [rule], BOUNDARIES_MS) : [];
    if (missing.length > 0)
      throw new CommandError(
        'REFUSED',
        `PD has not split at the boundaries of ${target.space.text}`,
        'see if PD schedules: tidb-mesh doctor',
      );
  };

  const follow = (checkpoint: FollowState): Following => {
    const writing = stopper();
    const applier = new Applier({ ...parts, signal: writing.signal });
    const noted: Pick<Applier, 'apply'> = {
      apply: (items) => {
        written.add(items);
        return applier.apply(items);
      },
    };
    const made = Follower.from({ source, applier: noted }, checkpoint);
    followers.push(made);
    return followingOf(made, writing);
  };

  const watch = (checkpoint: FollowState, onForeign: (commits: readonly ForeignCommit[]) => void): Feed => {
    const reading = stopper();
    const watcher = new Watcher({ source, target, written, onForeign, signal: reading.signal });
    const made = Follower.from({ source: target, applier: watcher }, checkpoint);
    followers.push(made);
    return followingOf(made, reading);
  };

  return {
    prepare: async () => {
      kept ??= await source.storage.timestamp();
      await keepHistory(source.storage, service, kept, KEEP_SECONDS);
      await reserveTarget();
    },
    renew: async () => {
      await verify();
      gap?.raise();
      // What the watch tells is compared with the source as it was then.
      if (followers.length > 0) kept = oldest(followers.map((one) => one.state()));
      const at = kept === undefined ? undefined : await since(kept).catch(() => undefined);
      // Another PD knows nothing of the move so far, and collects what a way back begins with. What fails here shows at the switch. It is
      // kept also while the source does not answer: what the copy has of one time may be all that is left.
      if (hasTwoPds && kept !== undefined) await keepTarget(kept, at).catch(() => undefined);
      await source.storage.timestamp();
      if (kept !== undefined)
        await keepHistory(source.storage, service, kept, KEEP_SECONDS, at ?? (await since(kept)));
      const [follower] = followers;
      if (!follower || follower.lagMs() < STUCK_MS || Date.now() < nextLook) return;
      nextLook = Date.now() + STUCK_MS;
      // The next look may find more. A feed that is behind must not end for it.
      await endExpired(source, { olderMs: STUCK_MS }).catch(() => undefined);
    },
    keepWayBack: async (fence) => {
      const before = isBetween ? await keptBy(target.storage.pd, service) : undefined;
      await keepHistory(target.storage, service, fence, KEEP_SECONDS, before);
    },
    copy: async (pieces, saved, signal) => {
      const state = pieces ? Pieces.read(pieces) : await planCopy(source);
      const cut = new Pieces(state);
      const sum = (field: 'bytes' | 'keys'): number =>
        state.chunks.reduce((all, chunk) => all + chunk[field], 0);
      const copied = (): Copied => ({
        bytes: sum('bytes'),
        keys: sum('keys'),
        ofBytes: state.ofBytes,
        // All chunks are read later than this.
        ...(kept === undefined ? {} : { since: String(kept) }),
      });
      if (!pieces) await saved(cut.all(), copied());
      await presplit(target, state, signal);
      const save = (_: CopyState, chunk: Chunk): Promise<void> => saved(cut.with(chunk), copied());
      await copy({ ...parts, state, signal, saved: save });
      return { ...followFrom(state), readableSince: String(readableSince(state)) } satisfies CopyEnd;
    },
    equalAt: (timestamp) =>
      ({ spans: [{ start: '', end: '', checkpoint: String(timestamp) }] }) satisfies FollowState,
    follow: async (checkpoint) => follow(stateIn(checkpoint)),
    watch: async (checkpoint, onForeign) => watch(stateIn(checkpoint), onForeign),
    limit: (rates) => throttle.set(rates),
    timestamp: () => source.storage.timestamp(),
    sourceLoss: () => lossOf(source),
    targetTimestamp: () => target.storage.timestamp(),
    tidbs: async () => (from.cluster === undefined ? [] : tidbsOf(source.storage.pd)),
    strangers: async () => (to.cluster === undefined ? [] : tidbsOf(target.storage.pd)),
    highestEpoch: () => highestEpoch(source),
    clusterIds: async () => ({
      source: String(await source.storage.clusterId()),
      target: String(await target.storage.clusterId()),
    }),
    readableSince: (progress) => {
      const { readableSince: since } = progress as CopyEnd;
      return since === undefined ? undefined : BigInt(since);
    },
    readableAtTarget: async () => {
      const collected = isBetween ? await collectedTo(target.storage.pd) : 0n;
      const latest = collected > readable ? collected : readable;
      return latest === 0n ? undefined : latest;
    },
    // No filter of a cluster outside of the mesh takes the mark off.
    endBegun: async (options) => (isImport ? 0 : endBegun(source, options)),
    // The TiDBs of an imported tenant do not live across a switch, and their open transactions end with them.
    openLocks: async () => (isImport ? 0 : countLocks(source)),
    settle: async (signal) => {
      const { open } = await settle(source, target, map, { signal });
      return isImport ? 0 : open;
    },
    carryLocks: async (signal) => (isImport ? 0 : (await carryLocks(source, target, map, signal)).left),
    raiseRevision: async () => {
      if (!isBetween) return;
      await raiseRevision(source.storage.pd, target.storage.pd);
      inEtcd = await namesIn(source.storage.pd, name);
    },
    carryNames: async (signal) => {
      if (!hasTwoPds) return;
      const pdOf = ({ storage: { pd } }: Side): Endpoint => pd.until(signal);
      if (isBetween) {
        const { isMine } = target.storage;
        await carryEtcd(pdOf(source), pdOf(target), { name, number }, { before: inEtcd, isMine });
        const services = (side: Side): ServiceSide => ({
          pd: pdOf(side),
          clusterId: () => side.storage.clusterId(),
        });
        await carryServices(services(source), services(target), name);
      }
      await carryGroups(groupsAt(source, signal), groupsAt(target, signal));
      await carryRules(rulesAt(source, signal), rulesAt(target, signal));
    },
    keepLeases: async () => {
      if (isBetween) await keepLeases(target.storage.pd, { number });
    },
    takeNamesAlong: async () => {
      if (!hasTwoPds) await takeRulesAlong(rulesAt(target), rulesAt(source));
    },
    dropCarriedLocks: async () => void (await dropPessimisticLocks(target)),
    destroyTarget: async (isMineStill) => {
      // The keys of tenant 0 are no range of their own: the cluster's lie among them.
      if (target.space.start.length === 0) return true;
      await verify(target);
      if (!(await isKept(target.storage.pd, there))) return false;
      await destroy(target, isMineStill);
      return true;
    },
    release: async () => {
      if (isLeftClosed(record)) {
        // Its safe point ends by itself: until then, what was equal at one time can be read.
        const { pd } = target.storage;
        if (!(await isKept(pd, there))) return undefined;
        await setLabelRule(pd, ruleOf(there));
        await deleteLabelRule(pd, targetRuleId(name));
        return undefined;
      }
      const [home, away, place] = isOutside(source) ? [target, source, to] : [source, target, from];
      await releaseHistory(home.storage, service);
      // A cluster that is gone keeps nothing, and one that is only away keeps it for an hour.
      let why: string | undefined;
      if (hasTwoPds)
        await releaseHistory(away.storage, service).catch((error: unknown) => {
          why = error instanceof Error ? error.message : String(error);
        });
      await setLabelRule(home.storage.pd, ruleOf(tenantAt({ name, number }, place)));
      await deleteLabelRule(home.storage.pd, targetRuleId(name));
      if (isImport || !hasTwoPds) return why;
      const ended = async (): Promise<void> => {
        await deleteLabelRule(away.storage.pd, targetRuleId(name));
        await dropServices(away.storage, name);
      };
      await (otherIsGone ? ended().catch(() => undefined) : ended());
      return why;
    },
    revisionsBehind: () => gap?.behind ?? 0,
    close: () => {
      gap?.close();
      close();
    },
  };
}
