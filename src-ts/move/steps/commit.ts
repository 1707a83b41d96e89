/** Tells all filters where the tenant is after a switch, until each of them has heard. Only then the old place is a target. */
import { HistoryGone, type Engine } from '../engine/engine.ts';
import type { Order, Orders, OtherSide, Terms } from '../filters/mesh.ts';
import { isBetweenStorages } from '../place.ts';
import type { Switch } from '../record.ts';
import type { MoveFilters } from './filters.ts';
import type { Limits } from './limits.ts';
import { ordersAt } from './orders.ts';
import { NO_PROBLEM, type OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

export class Commit {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly tools: Pick<Tools, 'mesh'>,
    private readonly limits: Pick<Limits, 'obeyMs' | 'calmMs'>,
  ) {}

  async run(engine: Engine): Promise<boolean> {
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
    // It may be tried for longer than leases last. A PD that does not answer now is asked again at the next try.
    await engine.keepLeases().catch(() => undefined);
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
}
