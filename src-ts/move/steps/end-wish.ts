/** An operator's wish to end a move: when it is taken, and what must be known before. */
import { CommandError } from '../../errors.ts';
import { isBetweenStorages } from '../place.ts';
import type { OwnRecord } from './own-record.ts';
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
}
