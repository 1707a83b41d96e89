/**
 * Takes a move through its states (record.ts). Each step can be done again by another worker: it reads the record, acts, and writes the
 * next state by compare-and-swap.
 *
 * A switch, with what the filter does meanwhile (mesh.ts):
 *
 *   prepare   everything goes on
 *   calm      transactions commit in two phases only, so that "committed" is what the store says
 *   drain     new writes are held; what has begun may end
 *   fence     commits are held, too. The mover settles what is undecided, and nearly all is carried over
 *   final     everything is held. The filter knows no end of it, and the mover does: it takes the fence timestamp, carries over what was
 *             committed up to it, and gives the switch up where that lasts too long
 *   committed the record says where the tenant is served now; then the filters are told
 *
 * At the end, `over` tells that a configuration without the move is no older one.
 *
 * Between two storage layers, `final` has one more step: the source's filters hand the tenant over, so that no timestamp of its PD passes
 * any more. The latest one is read behind that, and no timestamp of the target's PD that is no later reaches the tenant. After `committed`
 * the target's filters are told first, and the source's send its calls there when those have obeyed (docs/decisions/0017).
 *
 * Before `committed`, any failure leads back to `calm`, and the tenant stays where it was. After a switch, done or not, it stays calm
 * for a while: a transaction whose first prewrites came before must not end by an asynchronous commit.
 *
 * While a move follows, the target is watched. A commit there that is none of the mover's is one that the serving side lacks: it is written
 * into the record as an alarm, and every filter holds the tenant (`final`) until an operator has accepted it. While a cluster outside of
 * the mesh serves the tenant, nobody can hold it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import { Claims } from '../claims.ts';
import { HistoryGone, type Copied, type Engine, type Feed } from '../engine.ts';
import type { Order, Orders, OtherSide, Terms } from '../mesh.ts';
import { isBetweenStorages, isImport, placeText, type Place } from '../place.ts';
import { Rate } from '../rate.ts';
import { dropPieces, keepLast, piecesOf, type ForeignCommit, type PieceMap, type Switch } from '../record.ts';
import { Agreement } from './agreement.ts';
import { Alarms } from './alarms.ts';
import { progressOf, STANDS_STILL, type Feeds } from './feeds.ts';
import { MoveFilters } from './filters.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { lastOrders, ordersAt, placeAfter } from './orders.ts';
import { Lost, NO_PROBLEM, OwnRecord, withoutSwitch } from './own-record.ts';
import { SwitchFromCluster } from './switch-from-cluster.ts';
import { SwitchInMesh } from './switch-in-mesh.ts';
import { Switching } from './switching.ts';
import { TellAgain } from './tell-again.ts';
import type { Tools } from './tools.ts';

/** How often a worker's claim is renewed. */
const RENEW_MS = 1000;
/** How often a follower's progress is kept. */
const BEAT_MS = 2000;
const LOOK_MS = 100;
/** How often a record is read of a move that follows: of many moves, that is much. */
const READ_MS = 500;
/** In one transaction: far below what etcd takes, beside a record (--max-request-bytes 1.5 MB, --max-txn-ops 128). */
const MOST_BYTES = 1 << 20;
const MOST_PIECES = 100;

/** Pieces that are written together. */
function groupsOf(pieces: PieceMap): PieceMap[] {
  const groups: Map<number, string>[] = [];
  let bytes = 0;
  for (const [index, text] of pieces) {
    const last = groups.at(-1);
    bytes += text.length;
    if (last && bytes <= MOST_BYTES && last.size < MOST_PIECES) last.set(index, text);
    else {
      groups.push(new Map([[index, text]]));
      bytes = text.length;
    }
  }
  return groups;
}

/** Drives one move as long as it is this worker's. */
export class Move {
  private readonly limits: Limits;
  private readonly own: OwnRecord;
  private readonly filters: MoveFilters;
  private readonly agreement: Agreement;
  private readonly alarms: Alarms;
  private readonly tellAgain: TellAgain;
  private readonly switching: Switching;
  private readonly inMesh: SwitchInMesh;
  private readonly fromCluster: SwitchFromCluster;

  constructor(
    private readonly tools: Tools,
    tenant: string,
    signal: AbortSignal,
    /** What this worker has seen of others. */
    claims = new Claims(),
  ) {
    this.limits = { ...DEFAULT_LIMITS, ...tools.limits };
    this.own = new OwnRecord(tools, tenant, signal, claims, (step) => this.reached(step));
    this.filters = new MoveFilters(this.own, tools, this.limits);
    this.agreement = new Agreement(this.own, this.filters, tools);
    this.alarms = new Alarms(this.own, this.filters, tools, this.limits);
    this.tellAgain = new TellAgain(this.own, this.filters, this.agreement, this.alarms, tools);
    this.switching = new Switching(this.own, this.filters, tools);
    this.inMesh = new SwitchInMesh(
      this.own,
      this.filters,
      this.agreement,
      this.switching,
      tools,
      this.limits,
    );
    this.fromCluster = new SwitchFromCluster(this.own, this.filters, this.switching, tools, this.limits);
  }

  /**
   * Works until the move has ended, is another worker's, or the signal comes.
   * @returns true when the move has ended
   */
  async run(): Promise<boolean> {
    const { own } = this;
    if (!(await own.claim())) return false;
    for (const filters of this.filters.known) filters.recall?.(own.record.envoys ?? []);
    // However long a step takes, the claim holds.
    const beat = setInterval(() => void own.renew(), RENEW_MS);
    try {
      while (!own.signal.aborted) if (await this.step()) return true;
    } catch (error) {
      if (error instanceof Lost || own.isLost) return false;
      if (!own.signal.aborted) await own.note(error, { isTriedAgain: true });
      throw error;
    } finally {
      clearInterval(beat);
    }
    if (own.isLost) return false;
    await own.change({ worker: undefined });
    return false;
  }

  private async reached(step: string): Promise<void> {
    await this.tools.reached?.(step);
  }

  /** One state. True at the end of the move. */
  private async step(): Promise<boolean> {
    const { state, wish } = this.own.record;
    if (state === 'planned' && wish === 'cancel' && (await this.agreement.contradiction()))
      return this.leave();
    // Whatever stands in the way of going on must not stand in the way of giving up.
    const mayEnd =
      state === 'planned' ||
      state === 'copying' ||
      (state === 'following' && (!this.watchesFirst() || this.own.record.isWithoutCluster === true));
    if (mayEnd && (await this.isToEnd())) return false;
    switch (state) {
      case 'planned':
        return this.plan();
      case 'copying':
        return this.withEngine((engine) => this.copy(engine));
      case 'following':
        return this.withEngine((engine) => this.followWhileItCan(engine));
      case 'switching':
        // The worker that began has died. Nothing was told to serve the target.
        return this.switching.goBack('the worker of the switch has died');
      case 'committing':
        return this.withEngine((engine) => this.commit(engine));
      case 'completing':
      case 'cancelling':
        return this.withEngine((engine) => this.end(engine));
    }
  }

  private async withEngine(work: (engine: Engine) => Promise<boolean>): Promise<boolean> {
    const engine = this.tools.engineOf(this.own.record, () => this.own.mustBeMine());
    try {
      return await work(engine);
    } finally {
      engine.close();
    }
  }

  /** Forgets a move that was never begun. The tenant stays where the configuration has it. */
  private async leave(): Promise<true> {
    const place = this.agreement.told();
    if (place) await this.tellEnd(place);
    return this.forget();
  }

  /** Tells the filters that there is no move any more. Each of them must know that before it can come without one. */
  private async tellEnd(served: Place): Promise<void> {
    const place = placeAfter(this.own.record, served);
    const serial = this.own.record.serial + 1;
    await this.own.change({ serial });
    const terms = { timeoutMs: this.limits.obeyMs };
    const over: Order = { serial, phase: 'over' };
    await this.filters.order(
      { ...ordersAt(this.own.record, this.own.record.from, over), place, move: over },
      terms,
    );
    await this.own.reached('told over');
    await this.filters.order({ ...lastOrders(this.own.record), place }, terms);
  }

  private async plan(): Promise<boolean> {
    const why = await this.agreement.contradiction();
    if (why !== undefined)
      throw new CommandError(
        'REFUSED',
        `${this.own.tenant} is not where its move is to begin: ${why}`,
        `give the newest configuration to create and run; begin again: tidb-mesh move cancel ${this.own.tenant}`,
      );
    this.tools.tell(`${this.own.tenant}: telling the filters that it is being moved`);
    // What is read later must show what was ingested, and what was destroyed.
    await this.agreement.openFirst('prepare', { bulk: true });
    await this.withEngine((engine) => this.endBegun(engine));
    await this.own.enter('planned', { state: 'copying' });
    return false;
  }

  /**
   * From `prepare` on, the filters take the mark off what rewrites rows for a change of a column. What was locked with it before is in no change
   * feed when it commits (TiKV's delegate.rs). Before the copy reads, its commit must be behind the reader.
   */
  private async endBegun(engine: Engine): Promise<true> {
    const { obeyMs: timeoutMs, settleMs } = this.limits;
    // What the filters let through before may be on its way to a store.
    await sleep(settleMs, undefined, { signal: this.own.signal });
    const left = await engine.endBegun({ timeoutMs, signal: this.own.signal });
    if (left === 0) return true;
    throw new CommandError(
      'REFUSED',
      `${left} transactions that had begun to commit before the move have not ended`,
      'it is tried again; find them in information_schema.cluster_tidb_trx, and see if their TiDBs answer',
    );
  }

  /**
   * True when the old place is to be destroyed, and may have the only copy of something: of placement rules, or of a commit that an Envoy
   * has let through to it. A cluster outside of the mesh is not watched, and may be gone.
   */
  private watchesFirst(): boolean {
    const { wish, to, switches, otherIsGone } = this.own.record;
    if (otherIsGone) return false;
    const wasServed = wish === 'complete' || (wish === 'cancel' && switches > 0);
    return wasServed && to.cluster === undefined;
  }

  /** Takes an operator's wish to end the move. */
  private async isToEnd(): Promise<boolean> {
    const { wish, state } = this.own.record;
    if (wish !== 'cancel' && wish !== 'complete') return false;
    await this.mustNotBeLast();
    await this.own.enter(state, { state: wish === 'cancel' ? 'cancelling' : 'completing', wish: undefined });
    return true;
  }

  /**
   * While a cluster outside of the mesh or another storage layer serves the tenant, its copy may be the last one of what is gone. Nothing is
   * destroyed until that answers, or an operator has said that the cluster will not.
   */
  private async mustNotBeLast(): Promise<void> {
    const { from, to, state, isWithoutCluster } = this.own.record;
    if (from.cluster === undefined && !isBetweenStorages(this.own.record)) return;
    if (state === 'planned' || isWithoutCluster) return;
    let why: string;
    try {
      await this.withEngine(async (engine) => (await engine.timestamp()) > 0n);
      return;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
    if (from.cluster === undefined)
      throw new CommandError(
        'REFUSED',
        `storage ${from.storage} cannot be asked, and the copy in storage ${to.storage} may be the last one: ${why}`,
        `nothing is destroyed until it answers; see the ways out: tidb-mesh move doctor ${this.own.tenant}`,
      );
    throw new CommandError(
      'REFUSED',
      `cluster ${from.cluster} cannot be asked, and the copy here may be the last one: ${why}`,
      `nothing is destroyed until it answers as when the import began; if it is gone for good: tidb-mesh move cancel ${this.own.tenant} --without-cluster`,
    );
  }

  private async copy(engine: Engine): Promise<boolean> {
    await engine.prepare();
    if (await this.isPaused()) return false;
    const stop = new AbortController();
    const signal = AbortSignal.any([this.own.signal, stop.signal]);
    const rate = new Rate();
    let all: Copied | undefined;
    let { pieces: count } = (this.own.record.progress ?? {}) as { pieces?: number };
    const saved = async (changed: PieceMap, copied: Copied): Promise<void> => {
      await engine.renew();
      all = copied;
      const progress = { copied: { ...copied, bytesPerSecond: rate.add(copied.bytes) } };
      const groups = groupsOf(changed);
      for (const [index, group] of groups.entries()) {
        // Until all pieces of a plan are there, it does not count.
        if (index === groups.length - 1) count ??= changed.size;
        await this.own.change({ progress: { ...progress, pieces: count } }, group);
      }
      await this.own.reached('copied');
      heed();
    };
    // Between two states that are kept, a chunk goes on for a while.
    const heed = (): void => {
      engine.limit(this.own.record.throttle);
      if (this.own.record.isPaused || this.own.record.wish !== undefined) stop.abort();
    };
    const listening = setInterval(heed, RENEW_MS);
    const { tools } = this;
    const { record } = this.own;
    const pieces = count === undefined ? undefined : (await piecesOf(tools.pd, record)).slice(0, count);
    if (pieces && pieces.length !== count)
      throw new CommandError(
        'REFUSED',
        `${pieces.length} of ${count ?? 0} pieces of the copy's state are in etcd`,
        `somebody has deleted keys of the mesh; begin again: tidb-mesh move cancel ${this.own.tenant}`,
      );
    try {
      const checkpoint = await engine.copy(pieces, saved, signal);
      const since = engine.readableSince(checkpoint);
      const to: Place = {
        ...this.own.record.to,
        ...(since === undefined ? {} : { readableSince: String(since) }),
      };
      const watch = engine.equalAt(await engine.targetTimestamp());
      await this.own.enter('copying', {
        state: 'following',
        progress: { follow: checkpoint, watch },
        copied: all && { bytes: all.bytes, keys: all.keys },
        to,
        ...NO_PROBLEM,
      });
      await dropPieces(tools.pd, record);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      await this.isToEnd();
    } finally {
      clearInterval(listening);
    }
    return false;
  }

  /** Waits for a while when the move is paused. */
  private async isPaused(): Promise<boolean> {
    if (!this.own.record.isPaused || this.own.record.wish !== undefined) return false;
    await sleep(LOOK_MS * 10, undefined, { signal: this.own.signal }).catch(() => undefined);
    await this.own.look();
    await this.own.change({});
    return true;
  }

  private async followWhileItCan(engine: Engine): Promise<boolean> {
    try {
      return await this.follow(engine);
    } catch (error) {
      if (!(error instanceof HistoryGone)) throw error;
      this.tools.tell(`${this.own.tenant}: the other side is an old copy now: ${error.message}`);
      // Where to go on is of no use any more. The watch begins anew.
      await this.own.change((record) => ({
        wayBackLost: error.message,
        progress: {},
        wish: withoutSwitch(record),
      }));
      return false;
    }
  }

  private async follow(engine: Engine): Promise<boolean> {
    await this.alarms.lift();
    // Before the feeds read, and while a pause keeps them from it.
    await engine.renew();
    if (await this.isPaused()) return false;
    const { progress = {} } = this.own.record;
    const { follow, watch, equalAt } = progress as { follow?: unknown; watch?: unknown; equalAt?: string };
    const equal = equalAt === undefined ? undefined : engine.equalAt(BigInt(equalAt));
    // Of the last switch, or of one that was not done: what is applied would meet them.
    await engine.dropCarriedLocks();
    await engine.takeNamesAlong();
    const opened: Feed[] = [];
    try {
      const isLost = this.own.record.wayBackLost !== undefined;
      const following = isLost ? STANDS_STILL : await engine.follow(equal ?? follow);
      opened.push(following);
      const foreign: ForeignCommit[] = [];
      const since = equal ?? watch ?? engine.equalAt(await engine.targetTimestamp());
      const watching = await engine.watch(since, (commits) => foreign.push(...commits));
      opened.push(watching);
      let failure: { readonly error: unknown } | undefined;
      for (const { failed } of opened) failed.catch((error: unknown) => (failure ??= { error }));
      const check = (): void => {
        if (failure) throw failure.error;
      };
      await this.followBy(engine, { following, watching, foreign, check });
    } finally {
      for (const feed of opened.reverse()) await feed.stop();
    }
    return false;
  }

  /** Follows until something else is to be done. */
  private async followBy(engine: Engine, feeds: Feeds): Promise<void> {
    const { foreign, check } = feeds;
    let beat = 0;
    /** What was committed up to here must be seen at the old place before it is destroyed. */
    let watchedTo: bigint | undefined;
    let looked = -READ_MS;
    while (!this.own.signal.aborted) {
      if (foreign.length > 0) await this.alarms.raise(foreign.splice(0), feeds);
      if (Date.now() > beat) {
        beat = Date.now() + BEAT_MS;
        await engine.renew();
        engine.limit(this.own.record.throttle);
        check();
        const isOver = this.tellAgain.isDue;
        await this.own.change((record) => ({
          progress: progressOf(this.own.record, feeds),
          ...(isOver && record.isTriedAgain ? NO_PROBLEM : {}),
        }));
        await this.alarms.halt();
        await this.tellAgain.keepPlace();
        await this.tellAgain.keepObeyed();
        await this.filters.keepEnvoys();
        await this.alarms.watchCluster(engine);
      }
      await this.alarms.lift();
      const { wish, alarm, wayBackLost } = this.own.record;
      if (wish === 'switch' && wayBackLost !== undefined)
        await this.switching.decline(`the other side is an old copy: ${wayBackLost}`);
      else if (wish === 'switch' && !alarm) {
        const hasBegun =
          this.own.record.from.cluster === undefined
            ? await this.inMesh.run(engine, feeds)
            : await this.fromCluster.run(engine, feeds);
        if (hasBegun) return;
      } else if (this.watchesFirst()) {
        watchedTo ??= await engine.timestamp();
        const isSeen = feeds.watching.resolvedTs >= watchedTo && foreign.length === 0;
        if (isSeen && (await this.isToEnd())) return;
      } else if (this.own.record.isPaused || (await this.isToEnd())) return;
      else watchedTo = undefined;
      await sleep(LOOK_MS);
      check();
      if (performance.now() - looked < READ_MS) continue;
      await this.own.look();
      looked = performance.now();
    }
  }

  /** Tells all filters where the tenant is now, until each of them has heard. Only then the old place is a target. */
  private async commit(engine: Engine): Promise<boolean> {
    const { committed, from, history, switches } = this.own.record;
    if (!committed) throw new Error('there is nothing to commit');
    const { served, fence, writesHeldSince, allHeldSince } = committed;
    // However long an Envoy does not answer. Nothing leads back from here, so the tenant must get there without a way back, too.
    const wayBackLost = await engine.keepWayBack(BigInt(fence)).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof HistoryGone) return error.message;
        throw error;
      },
    );
    // As in `open`.
    const terms = { timeoutMs: this.limits.obeyMs, mayBeOver: true };
    const nextCalm = async (): Promise<Order> => {
      const serial = this.own.record.serial + 1;
      await this.own.change({ serial });
      return { serial, phase: 'calm', until: Date.now() + this.limits.calmMs };
    };
    if (served.cluster !== undefined) await this.filters.keepState();
    if (isBetweenStorages(this.own.record)) {
      const first = await nextCalm();
      await this.openAtTarget(ordersAt(this.own.record, served, first), terms);
    }
    const move = await nextCalm();
    await this.tools.mesh.tell(this.own.tenant, ordersAt(this.own.record, served, move));
    await this.own.reached('committed');
    await this.filters.obeyed(this.filters.all, move, terms);
    const now = Date.now();
    const done: Switch = {
      at: now,
      writesHeldMs: now - writesHeldSince,
      allHeldMs: now - allHeldSince,
      fence,
    };
    await this.own.enter('committing', (record) => ({
      state: 'following',
      from: served,
      to: from,
      switches: switches + 1,
      history: [...history, done],
      committed: undefined,
      // The file has it again.
      ...(served.cluster === undefined ? { keptState: undefined } : {}),
      // Of before the switch: it would mean the other way now.
      wish: record.otherIsGone ? 'complete' : undefined,
      ...NO_PROBLEM,
      progress: wayBackLost === undefined ? { equalAt: fence } : {},
      wayBackLost,
    }));
    return false;
  }

  /** Tells the target's filters to serve the tenant while the source's still hold it, so that these send nobody to one that is closed. */
  private async openAtTarget(orders: Orders, terms: Terms): Promise<void> {
    const { other, place, move } = orders;
    if (!other || !move) throw new Error('there is no other side');
    const held: OtherSide = { ...other, move: { serial: move.serial, phase: 'final' } };
    await this.tools.mesh.tell(this.own.tenant, { ...orders, other: held });
    await this.filters.obeyed([this.filters.at(place)], move, terms);
    await this.own.reached('opened');
  }

  /** Ends the move: nothing but the place where the tenant is served stays. */
  private async end(engine: Engine): Promise<boolean> {
    const { tools, limits } = this;
    const { tenant } = this.own;
    const { history, progress, from, to, isGivenUp, otherIsGone } = this.own.record;
    const calmUntil = (history.at(-1)?.at ?? 0) + limits.calmMs;
    await sleep(Math.max(0, calmUntil - Date.now()), undefined, { signal: this.own.signal });
    // Every VM says that it serves the source, before the target is destroyed. Of nothing that was copied, nothing is destroyed.
    await this.agreement.openFirst('prepare');
    const isWritten = progress !== undefined || history.length > 0;
    // One that has stood still meanwhile must not destroy what is somebody else's by now.
    const isMine = (): Promise<void> => this.own.change({});
    if (!isGivenUp && isWritten && !otherIsGone && !(await engine.destroyTarget(isMine)))
      tools.tell(
        `${tenant}: PD has no rule of it for ${placeText(this.own.record, to)}: nothing is destroyed there`,
      );
    await this.own.reached('destroyed');
    await this.own.change({ isGivenUp: true });
    const kept = await engine.release();
    if (kept !== undefined)
      tools.tell(
        `${tenant}: the safe point of the move at ${placeText(this.own.record, isImport(this.own.record) && from.cluster === undefined ? to : from)} could not be released, and ends within an hour: ${kept}`,
      );
    await this.own.reached('released');
    await this.tellEnd(from);
    await this.own.reached('told the end');
    return this.forget();
  }

  private async forget(): Promise<true> {
    const { pd } = this.tools;
    for (;;) {
      await this.own.change({});
      await dropPieces(pd, this.own.record);
      const { serial, from } = this.own.record;
      const last = {
        serial,
        ...(isBetweenStorages(this.own.record) && from.storage !== undefined
          ? { storage: from.storage }
          : {}),
      };
      for (const one of this.filters.all) await keepLast(one.pd, this.own.tenant, last);
      if (await this.own.forget()) return true;
    }
  }
}
