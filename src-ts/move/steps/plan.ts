/** Begins a move that is planned: its filters are told, and what had begun to commit before has ended. Then it can be copied. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import type { Engine } from '../engine/engine.ts';
import type { Agreement } from './agreement.ts';
import type { Limits } from './limits.ts';
import type { OwnRecord } from './own-record.ts';
import type { Tools, WithEngine } from './tools.ts';

export class Plan {
  constructor(
    private readonly own: OwnRecord,
    private readonly agreement: Agreement,
    private readonly withEngine: WithEngine,
    private readonly tools: Pick<Tools, 'tell'>,
    private readonly limits: Pick<Limits, 'obeyMs' | 'settleMs'>,
  ) {}

  async run(): Promise<boolean> {
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
}
