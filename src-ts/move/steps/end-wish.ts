/** An operator's wish to end a move: when it is taken, and what must be known before. */
import { CommandError } from '../../errors.ts';
import { isBetweenStorages } from '../place.ts';
import { isServedElsewhere } from '../record.ts';
import { NO_PROBLEM, type OwnRecord } from './own-record.ts';
import type { WithEngine } from './tools.ts';

export class EndWish {
  constructor(
    private readonly own: OwnRecord,
    private readonly withEngine: WithEngine,
  ) {}

  /**
   * True when the old place is to be destroyed, and may have the only copy of something: of placement rules, or of a commit that an Envoy
   * has let through to it. A cluster outside of the mesh is not watched, and may be gone.
   */
  watchesFirst(): boolean {
    const { wish, to, switches, otherIsGone } = this.own.record;
    if (otherIsGone) return false;
    const wasServed = wish === 'complete' || (wish === 'cancel' && switches > 0);
    return wasServed && to.cluster === undefined;
  }

  /** Takes an operator's wish to end the move. */
  async isToEnd(): Promise<boolean> {
    const { wish, state } = this.own.record;
    if (wish !== 'cancel' && wish !== 'complete') return false;
    await this.mustNotBeLast();
    await this.own.enter(state, { state: wish === 'cancel' ? 'cancelling' : 'completing', wish: undefined });
    return true;
  }

  /** Ends a switch that is decided for a storage layer that is gone for good. The copy has all that was committed before it. */
  async leaveCopy(): Promise<false> {
    await this.own.enter('committing', ({ from, to, switches, committed }) => ({
      state: 'cancelling',
      from: committed?.served ?? to,
      to: from,
      switches: switches + 1,
      progress: { equalAt: committed?.fence },
      committed: undefined,
      wish: undefined,
      ...NO_PROBLEM,
    }));
    return false;
  }

  /**
   * While a cluster outside of the mesh or another storage layer serves the tenant, its copy may be the last one of what is gone. Nothing is
   * destroyed until that answers and has the keys, or an operator has said that it will not: then the copy of a storage layer is kept.
   */
  async mustNotBeLast(): Promise<void> {
    const { tenant, record } = this.own;
    const { from, to, state, isWithoutCluster, otherIsGone } = record;
    if (from.cluster === undefined && !isBetweenStorages(record)) return;
    if (state === 'planned' || isWithoutCluster || otherIsGone) return;
    const why = await this.withEngine(async (engine) => {
      await engine.timestamp();
      const loss = await engine.sourceLoss();
      return loss === undefined ? undefined : ['may have lost its keys', loss];
    }).catch((error: unknown) => ['cannot be asked', error instanceof Error ? error.message : String(error)]);
    if (!why) return;
    const [what = '', reason = ''] = why;
    const cancel = `if it is gone for good: tidb-mesh move cancel ${tenant}`;
    if (from.cluster !== undefined)
      throw new CommandError(
        'REFUSED',
        `cluster ${from.cluster} ${what}, and the copy here may be the last one: ${reason}`,
        `nothing is destroyed until it answers as when the import began; ${cancel} --without-cluster`,
      );
    const out = isServedElsewhere(record)
      ? `${cancel} --without-storage, which keeps the copy`
      : `see: tidb-mesh move doctor ${tenant}`;
    throw new CommandError(
      'REFUSED',
      `storage ${from.storage} ${what}, and the copy in storage ${to.storage} may be the last one: ${reason}`,
      `nothing is destroyed until it answers and has its keys; ${out}`,
    );
  }
}
