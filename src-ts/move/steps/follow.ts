/** Follows: carries over what is written, watches the target, and does what is asked for, until something else is to be done. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HistoryGone, type Engine, type Feed } from '../engine/engine.ts';
import type { ForeignCommit } from '../record.ts';
import type { Agreement } from './agreement.ts';
import { Alarms } from './alarms.ts';
import type { EndWish } from './end-wish.ts';
import { progressOf, STANDS_STILL, type Feeds } from './feeds.ts';
import type { MoveFilters } from './filters.ts';
import type { Limits } from './limits.ts';
import { NO_PROBLEM, withoutSwitch, type OwnRecord } from './own-record.ts';
import { isPaused } from './pause.ts';
import { SwitchFromCluster } from './switch-from-cluster.ts';
import { SwitchInMesh } from './switch-in-mesh.ts';
import type { Switching } from './switching.ts';
import { TellAgain } from './tell-again.ts';
import type { Tools } from './tools.ts';

const LOOK_MS = 100;
/** How often a follower's progress is kept. */
const BEAT_MS = 2000;
/** How often a record is read of a move that follows: of many moves, that is much. */
const READ_MS = 500;

export class Follow {
  private readonly alarms: Alarms;
  private readonly tellAgain: TellAgain;
  private readonly inMesh: SwitchInMesh;
  private readonly fromCluster: SwitchFromCluster;

  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    agreement: Agreement,
    private readonly endWish: EndWish,
    private readonly switching: Switching,
    private readonly tools: Pick<Tools, 'onAlarm' | 'tell'>,
    limits: Limits,
  ) {
    this.alarms = new Alarms(own, filters, tools, limits);
    this.tellAgain = new TellAgain(own, filters, agreement, this.alarms, tools);
    this.inMesh = new SwitchInMesh(own, filters, agreement, switching, tools, limits);
    this.fromCluster = new SwitchFromCluster(own, filters, switching, tools, limits);
  }

  /** Until another step is to be done, or the feeds are to begin anew. */
  async run(engine: Engine): Promise<boolean> {
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
    if (await isPaused(this.own)) return false;
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
      const revisionsBehind = (): number => engine.revisionsBehind();
      await this.followBy(engine, { following, watching, foreign, check, revisionsBehind });
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
      } else if (this.endWish.watchesFirst()) {
        watchedTo ??= await engine.timestamp();
        const isSeen = feeds.watching.resolvedTs >= watchedTo && foreign.length === 0;
        if (isSeen && (await this.endWish.isToEnd())) return;
      } else if (this.own.record.isPaused || (await this.endWish.isToEnd())) return;
      else watchedTo = undefined;
      await sleep(LOOK_MS);
      check();
      if (performance.now() - looked < READ_MS) continue;
      await this.own.look();
      looked = performance.now();
    }
  }
}
