/** A switch from a cluster outside of the mesh. No filter is in front of it, so its TiDBs must have ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../engine/engine.ts';
import { clockObjection, waitForClock } from './clocks.ts';
import { catchUp, untouched, type Feeds } from './feeds.ts';
import type { MoveFilters } from './filters.ts';
import { Hold } from './hold.ts';
import type { Limits } from './limits.ts';
import { lagObjection, runningTidbs } from './objections.ts';
import { ordersFor } from './orders.ts';
import type { OwnRecord } from './own-record.ts';
import { ALL_HELD_HINT, ASKING_PD, DECIDING, type Switching } from './switching.ts';
import type { Tools } from './tools.ts';

/** How long a switch from a cluster may carry over. */
const CATCH_UP_MS = 60_000;

export class SwitchFromCluster {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly switching: Switching,
    private readonly tools: Pick<Tools, 'tell'>,
    private readonly limits: Limits,
  ) {}

  /** False when it was declined. */
  async run(engine: Engine, feeds: Feeds): Promise<boolean> {
    const { tools } = this;
    const { tenant } = this.own;
    const { following } = feeds;
    const { maxLagMs, holdMs, allHeldMs, obeyMs, calmMs, settleMs } = this.limits;
    const why =
      (await runningTidbs(this.own.record, engine)) ??
      (await clockObjection(this.own.record, engine)) ??
      lagObjection(following, maxLagMs);
    if (why !== undefined) return this.switching.decline(why);
    const serial = await this.switching.begin(feeds);
    const hold = new Hold(CATCH_UP_MS + allHeldMs, 'the switch had gone on', ALL_HELD_HINT);
    try {
      const heldSince = Date.now();
      tools.tell(`${tenant}: nothing runs at the cluster; carrying the rest over`);
      // Every filter says that it keeps the tenant suspended until the record says otherwise.
      const orders = ordersFor(this.own.record, 'calm', serial, Date.now() + calmMs);
      await this.filters.order(orders, { timeoutMs: obeyMs });
      await sleep(settleMs);
      await hold.within(DECIDING, (signal) => engine.settle(signal));
      const [fence, watched] = await hold.within(ASKING_PD, () =>
        Promise.all([engine.timestamp(), engine.targetTimestamp()]),
      );
      const until = Date.now() + CATCH_UP_MS;
      await catchUp(feeds, fence, until, holdMs);
      await untouched(watched, until, feeds);
      await hold.within("PD's names and rules were being carried over", (signal) =>
        engine.carryNames(signal),
      );
      await hold.within(ASKING_PD, () => waitForClock(this.own.record, engine, fence));
      const again = await hold.within(ASKING_PD, () => runningTidbs(this.own.record, engine));
      if (again !== undefined) throw new Error(again);
      const times = { writesHeldSince: heldSince, allHeldSince: heldSince };
      await this.switching.decide({ served: this.own.record.to, fence: String(fence), ...times }, hold);
    } catch (error) {
      await this.switching.giveUp(error);
    } finally {
      hold.close();
    }
    return true;
  }
}
