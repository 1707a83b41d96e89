/** Ends a move: destroys what the tenant has left, tells the filters that there is no move any more, and forgets it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { keptText } from '../diagnosis/kept-copy.ts';
import type { Engine } from '../engine/engine.ts';
import type { Order } from '../filters/mesh.ts';
import { isBetweenStorages, isImport, placeText, type Place } from '../place.ts';
import { dropPieces, isLeftClosed, keepLast } from '../record.ts';
import type { Agreement } from './agreement.ts';
import type { EndWish } from './end-wish.ts';
import type { MoveFilters } from './filters.ts';
import type { Limits } from './limits.ts';
import { lastOrders, ordersAt, placeAfter } from './orders.ts';
import { Lost, type OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

export class End {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly agreement: Agreement,
    private readonly endWish: Pick<EndWish, 'mustNotBeLast'>,
    private readonly tools: Pick<Tools, 'pd' | 'tell'>,
    private readonly limits: Pick<Limits, 'obeyMs' | 'calmMs'>,
  ) {}

  /** Forgets a move that was never begun. The tenant stays where the configuration has it. */
  async leave(): Promise<true> {
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

  /** Ends the move: nothing but the place where the tenant is served stays. */
  async run(engine: Engine): Promise<boolean> {
    const { tools, limits } = this;
    const { tenant } = this.own;
    const { history, progress, from, to, isGivenUp, otherIsGone } = this.own.record;
    const calmUntil = (history.at(-1)?.at ?? 0) + limits.calmMs;
    await sleep(Math.max(0, calmUntil - Date.now()), undefined, { signal: this.own.signal });
    // Every VM says that it serves the source, before the target is destroyed. Of nothing that was copied, nothing is destroyed.
    await this.agreement.openFirst('prepare');
    const isWritten = progress !== undefined || history.length > 0;
    // One that has stood still meanwhile must not destroy what is somebody else's by now, or what an operator keeps.
    const isMine = async (): Promise<void> => {
      await this.own.change({});
      if (this.own.record.otherIsGone && !otherIsGone) throw new Lost();
    };
    if (!isGivenUp && isWritten && !otherIsGone) {
      // It may be gone since the end was asked for.
      await this.endWish.mustNotBeLast();
      if (!(await engine.destroyTarget(isMine)))
        tools.tell(
          `${tenant}: PD has no rule of it for ${placeText(this.own.record, to)}: nothing is destroyed there`,
        );
    }
    const isLeft = isLeftClosed(this.own.record);
    if (isLeft) tools.tell(`${tenant}: the copy is kept: ${keptText(this.own.record)}`);
    await this.own.reached('destroyed');
    if (!isLeft) await this.own.change({ isGivenUp: true });
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
      // Of one that is gone for good, an operator may serve the copy.
      const storage = isLeftClosed(this.own.record) ? undefined : from.storage;
      const last = { serial, ...(isBetweenStorages(this.own.record) ? { storage } : {}) };
      for (const one of this.filters.all) await keepLast(one.pd, this.own.tenant, last);
      if (await this.own.forget()) return true;
    }
  }
}
