/** The filters that a move has to do with: tells them where the tenant is and what they are to do, and waits until all of them obey. */
import { isDeepStrictEqual } from 'node:util';
import { CommandError } from '../../errors.ts';
import {
  obeyed,
  type Filters,
  type Order,
  type Orders,
  type OtherFilters,
  type Quiet,
  type Terms,
} from '../filters/mesh.ts';
import { isBetweenStorages, type Place } from '../place.ts';
import type { Limits } from './limits.ts';
import { ordersFor } from './orders.ts';
import type { OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

export class MoveFilters {
  constructor(
    private readonly own: OwnRecord,
    private readonly tools: Pick<Tools, 'pd' | 'mesh'>,
    private readonly limits: Pick<Limits, 'obeyMs' | 'calmMs'>,
  ) {}

  /** The filters in front of a place, and the PD there. */
  at({ storage }: Place): OtherFilters {
    const { mesh, pd } = this.tools;
    if (storage === undefined || !isBetweenStorages(this.own.record) || storage === this.own.record.home)
      return { ...mesh, pd };
    const other = mesh.others?.get(storage);
    if (other) return other;
    throw new CommandError(
      'REFUSED',
      `storage ${storage} is not known`,
      'give the file that describes it: --storages FILE',
    );
  }

  /** All filters that the move has to do with. */
  get all(): readonly OtherFilters[] {
    const { from, to, home, otherIsGone } = this.own.record;
    if (!isBetweenStorages(this.own.record)) return [this.at({})];
    return [from, to]
      .filter(({ storage }) => !otherIsGone || storage === home)
      .map((place) => this.at(place));
  }

  /** The same, without those that this worker has no addresses of: it finds out when it asks. */
  get known(): readonly Filters[] {
    try {
      return this.all;
    } catch {
      return [];
    }
  }

  /** Writes down which Envoys there are, so that the next worker waits for one of them that is gone by then. */
  async keepEnvoys(): Promise<void> {
    const envoys = this.all.flatMap((one) => one.seen?.() ?? []);
    if (envoys.length > 0 && !isDeepStrictEqual(envoys, this.own.record.envoys))
      await this.own.change({ envoys });
  }

  /** Tells the filters, and waits until all of them obey. */
  async order(orders: Orders, terms: Terms): Promise<void> {
    await this.tools.mesh.tell(this.own.tenant, orders);
    await this.obeyed(this.all, orders.move, terms);
  }

  /** Waits until these obey. */
  async obeyed(all: readonly Filters[], order: Order | undefined, terms: Terms): Promise<void> {
    await Promise.all(all.map((filters) => obeyed(filters, this.own.tenant, order, terms)));
  }

  /** Lets everything go on at the source. */
  async open(phase: 'prepare' | 'calm', quiet: Quiet = {}): Promise<void> {
    const serial = this.own.record.serial + 1;
    await this.own.change({ serial });
    const { limits } = this;
    const until = phase === 'calm' ? Date.now() + limits.calmMs : undefined;
    // A calm that comes late, behind those of many tenants, is over when nothing from before can go on any more.
    const terms = { timeoutMs: limits.obeyMs, mayBeOver: phase === 'calm', ...quiet };
    await this.order(ordersFor(this.own.record, phase, serial, until), terms);
  }

  /** Before the tenant is suspended for the move's sake: keeps what its operator has set. */
  async keepState(): Promise<void> {
    if (this.own.record.keptState !== undefined) return;
    await this.own.change({ keptState: this.tools.mesh.stateOf?.(this.own.tenant) ?? 'active' });
  }
}
