/** A switch of a tenant that the mesh serves: its filters hold it, step by step, while the rest is carried over. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../engine/engine.ts';
import type { Order, Orders, Phase, Quiet, Terms } from '../filters/mesh.ts';
import { isBetweenStorages, NO_TIME_YET } from '../place.ts';
import type { Agreement } from './agreement.ts';
import { clockObjection, waitForClock } from './clocks.ts';
import { catchUp, untouched, type Feeds } from './feeds.ts';
import type { MoveFilters } from './filters.ts';
import { Hold } from './hold.ts';
import type { Limits } from './limits.ts';
import { lagObjection, strangersThere, tooManyLocks, unheard } from './objections.ts';
import { ordersFor } from './orders.ts';
import type { OwnRecord } from './own-record.ts';
import { ALL_HELD_HINT, ASKING_PD, DECIDING, type Switching } from './switching.ts';
import { placeAtTarget } from './target-place.ts';
import type { Tools } from './tools.ts';

/** Nothing that changes keys is on its way. */
const ALL_OVER: Quiet = { writes: true, finishes: true };

export class SwitchInMesh {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly agreement: Agreement,
    private readonly switching: Switching,
    private readonly tools: Pick<Tools, 'tell'>,
    private readonly limits: Limits,
  ) {}

  /** False when it was declined. Done or not, a switch leaves locks at the target: the feeds begin anew behind it. */
  async run(engine: Engine, feeds: Feeds): Promise<boolean> {
    const { tools } = this;
    const { tenant } = this.own;
    const { following } = feeds;
    const { maxLagMs, holdMs, allHeldMs, obeyMs, settleMs, calmMs } = this.limits;
    const inTheWay =
      this.agreement.otherMove()?.message ??
      (await unheard(this.filters)) ??
      (await strangersThere(this.own.record, engine)) ??
      (await clockObjection(this.own.record, engine));
    if (inTheWay !== undefined) return this.switching.decline(inTheWay);
    await engine.renew();
    const late = lagObjection(following, maxLagMs) ?? tooManyLocks(await engine.openLocks(), allHeldMs);
    if (late !== undefined) return this.switching.decline(late);
    // As long as nothing is held.
    await engine.raiseRevision();
    // All regions, of which there may be very many. What they grow by meanwhile, the margins hold.
    const highest = await engine.highestEpoch();
    const serial = await this.switching.begin(feeds);
    const tell = async (phase: Phase, limits: Terms, until?: number): Promise<void> => {
      tools.tell(`${tenant}: ${phase}`);
      await this.filters.order(ordersFor(this.own.record, phase, serial, until), limits);
      await this.own.reached(phase);
    };
    const holds: Hold[] = [];
    const holdFor = (...args: ConstructorParameters<typeof Hold>): Hold => {
      const hold = new Hold(...args);
      holds.push(hold);
      return hold;
    };
    try {
      const watched = await engine.targetTimestamp();
      await tell('calm', { timeoutMs: obeyMs }, Date.now() + calmMs);
      await sleep(settleMs);
      const writesHeldSince = Date.now();
      const until = writesHeldSince + holdMs;
      const rest = (): number => Math.max(1, until - Date.now());
      const fenced = holdFor(
        holdMs,
        'writes had been held',
        'see if the stores answer; or give --hold more time',
      );
      await tell('drain', { timeoutMs: rest(), writes: true }, until);
      await sleep(settleMs);
      await tell('fence', { timeoutMs: rest(), writes: true, finishes: true }, until);
      const open = await fenced.within(DECIDING, (signal) => engine.settle(signal));
      await this.own.reached('settled');
      // Nearly all is carried over while reads still go on.
      await catchUp(feeds, await engine.timestamp(), until, holdMs);
      // From the flip on, commits at the target are right.
      await untouched(watched, until, feeds);
      const tooMany = tooManyLocks(open, allHeldMs);
      if (tooMany !== undefined) throw new Error(tooMany);
      await this.own.change((record) => this.switching.stillWished(record));
      const allHeldSince = Date.now();
      const hold = holdFor(allHeldMs, 'all requests had been held', ALL_HELD_HINT);
      await hold.within('the filters were being told', () =>
        tell('final', { timeoutMs: rest(), ...ALL_OVER }),
      );
      // Now nothing can follow: whatever an Envoy that has just started let through is decided and carried, too.
      await hold.within(DECIDING, (signal) => engine.settle(signal));
      const fence = await hold.within(ASKING_PD, () => engine.timestamp());
      await hold.within('the last changes were being carried over', () =>
        catchUp(feeds, fence, Date.now() + obeyMs, holdMs),
      );
      await this.own.reached('caught up');
      const left = await hold.within('locks of open transactions were being carried over', (signal) =>
        engine.carryLocks(signal),
      );
      if (left > 0)
        tools.tell(`${tenant}: ${left} locks of open transactions stay behind: these must begin anew`);
      const latest = isBetweenStorages(this.own.record) ? await this.handOver(engine, hold) : fence;
      await hold.within("PD's names and rules were being carried over", (signal) =>
        engine.carryNames(signal),
      );
      await hold.within(ASKING_PD, () => waitForClock(this.own.record, engine, latest));
      await this.own.reached('locks carried');
      const served = await hold.within(ASKING_PD, () =>
        placeAtTarget(this.own.record, engine, highest, latest),
      );
      // An Envoy may have come, or have got an earlier configuration, while the rest was carried over.
      const final: Order = { serial: this.own.record.serial, phase: 'final' };
      await hold.within('the filters were being asked', async () => {
        await this.filters.obeyed([this.filters.at(this.own.record.from)], final, {
          timeoutMs: obeyMs,
          ...ALL_OVER,
        });
        const again = (await unheard(this.filters)) ?? (await strangersThere(this.own.record, engine));
        if (again !== undefined) throw new Error(again);
      });
      await this.switching.decide({ served, fence: String(fence), writesHeldSince, allHeldSince }, hold);
    } catch (error) {
      await this.switching.giveUp(error);
    } finally {
      for (const hold of holds) hold.close();
    }
    return true;
  }

  /**
   * Has the source's filters hand the tenant over, while all is held and the target is closed.
   * @returns the latest timestamp that its clients may have got from the source's PD
   */
  private async handOver(engine: Engine, hold: Hold): Promise<bigint> {
    const { from, to } = this.own.record;
    await this.filters.keepState();
    const serial = this.own.record.serial + 1;
    await this.own.change({ serial });
    const move: Order = { serial, phase: 'final' };
    const orders: Orders = {
      // A tenant that is suspended finds the time all the same. It gets none there before the last one here is known.
      place: { ...to, latestSeen: NO_TIME_YET },
      state: 'suspended',
      move,
      other: { as: 'movedFrom', place: from, move },
    };
    await hold.within('the filters were being told', () =>
      this.filters.order(orders, { timeoutMs: this.limits.obeyMs, ...ALL_OVER }),
    );
    await this.own.reached('handed over');
    return hold.within(ASKING_PD, () => engine.timestamp());
  }
}
