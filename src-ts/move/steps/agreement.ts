/** Whether the configuration, PD and the record of a move agree on where the tenant is, before the filters are told what the record says. */
import { isDeepStrictEqual } from 'node:util';
import { CommandError } from '../../errors.ts';
import { hasRangeOf, rangeText, registered } from '../../tenants/registry.ts';
import { Outdated, type Quiet } from '../filters/mesh.ts';
import { isBetweenStorages, isSamePlace, placeOf, placeText, tenantAt, type Place } from '../place.ts';
import type { MoveFilters } from './filters.ts';
import { ordersAt } from './orders.ts';
import type { OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

export class Agreement {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly tools: Pick<Tools, 'mesh' | 'tell'>,
  ) {}

  /** Where the configuration has the tenant. Its storage counts only where there are two. */
  told(): Place | undefined {
    const told = this.tools.mesh.placeOf?.(this.own.tenant);
    return told && !isBetweenStorages(this.own.record) ? placeOf({ ...told }) : told;
  }

  /**
   * Why the record is wrong about where the tenant is. While a move is planned, nothing has been changed, and the configuration is right.
   * To tell the filters what the record says would lead the tenant to another range.
   */
  async contradiction(): Promise<string | undefined> {
    const { place } = ordersAt(this.own.record, this.own.record.from);
    const at = this.told();
    if (at && !isDeepStrictEqual(at, place))
      return `its place is ${JSON.stringify(at)} in the configuration, and ${JSON.stringify(place)} in the record of the move`;
    const { tenant: name, number } = this.own.record;
    const own = (await registered(this.filters.at(place).pd)).find((one) => one.name === name);
    if (own && hasRangeOf(own, tenantAt({ name, number }, place))) return undefined;
    return `PD has it at ${own ? rangeText(own) : 'no place'}, and the record of the move at ${placeText({ number }, place)}`;
  }

  /** Why the configuration is not this move's to correct: another one has led the tenant elsewhere, or does. */
  otherMove(): CommandError | undefined {
    const { tools } = this;
    const { tenant } = this.own;
    const { from, to, serial } = this.own.record;
    const at = this.told();
    const told = tools.mesh.serialOf?.(tenant) ?? 0;
    const isOwn = !at || [from, to].some((place) => isSamePlace(at, ordersAt(this.own.record, place).place));
    if (isOwn && told <= serial) return undefined;
    const where = isOwn ? '' : ` at ${placeText(this.own.record, at)}`;
    return new CommandError(
      'REFUSED',
      `the configuration has ${tenant}${where}${told > serial ? ` at serial ${told}` : ''}, which this move has not told`,
      'see if another move of it is under way or has ended, at the PD of another storage; give the newest configuration',
    );
  }

  /**
   * Lets everything go on before the first switch, where an earlier move of the tenant may have had higher serials: its host's clock was
   * ahead. Where the configuration, PD and the record agree on the tenant's place, nothing but the serial is wrong, and it is raised.
   */
  async openFirst(phase: 'prepare', quiet: Quiet = {}): Promise<void> {
    try {
      await this.filters.open(phase, quiet);
    } catch (error) {
      if (!(error instanceof Outdated) || this.own.record.switches > 0) throw error;
      const why = await this.contradiction();
      if (why !== undefined) throw error;
      this.tools.tell(
        `${this.own.tenant}: a former move had serial ${error.latestSerial}; going on above it`,
      );
      await this.own.change({ serial: error.latestSerial });
      await this.filters.open(phase, quiet);
    }
  }
}
