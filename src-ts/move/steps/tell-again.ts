/** While a move follows: tells filters again what they were told last, where an older configuration has come behind it. */
import { acknowledged, type Missing } from '../filters/acknowledged.ts';
import { isSamePlace, placeText } from '../place.ts';
import type { Agreement } from './agreement.ts';
import { withStop, type Alarms } from './alarms.ts';
import type { MoveFilters } from './filters.ts';
import { ordersAt } from './orders.ts';
import { Lost, type OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

/** How old what Envoys have answered may be at first. */
const AGE_MS = 2000;
/** Envoys that do not obey are told again so often. */
const TELL_AGAIN_MS = 30_000;

export class TellAgain {
  /** When Envoys that do not obey may be told again. */
  private nextTold = 0;

  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly agreement: Agreement,
    private readonly alarms: Alarms,
    private readonly tools: Pick<Tools, 'tell'>,
  ) {}

  /** False for a while after it has told them. */
  get isDue(): boolean {
    return Date.now() >= this.nextTold;
  }

  /** Somebody may have written a copy of the configuration from before a switch, and with it the old place. */
  async keepPlace(): Promise<void> {
    const { tools } = this;
    const { tenant } = this.own;
    const at = this.agreement.told();
    if (!at || isSamePlace(at, ordersAt(this.own.record, this.own.record.from).place)) return;
    const why = this.agreement.otherMove();
    if (why !== undefined) return this.own.note(why);
    tools.tell(`${tenant}: the configuration has ${placeText(this.own.record, at)}, where it is not served`);
    await this.tellAgain();
  }

  /** An Envoy may have got an older configuration behind the newest one, as of a command that hung. It is told again. */
  async keepObeyed(): Promise<void> {
    const { tools } = this;
    const { tenant } = this.own;
    // Until all hold it for an alarm, each beat tells them anyway.
    if (this.alarms.isToHalt || !this.isDue) return;
    if ((await this.behind(AGE_MS)).length === 0) return;
    // That may have been from before this worker has told them something.
    const [first] = await this.behind();
    if (!first) return;
    tools.tell(`${tenant}: ${first.vm} ${first.why}; telling it again`);
    this.nextTold = Date.now() + TELL_AGAIN_MS;
    try {
      await this.tellAgain();
    } catch (error) {
      if (error instanceof Lost) throw error;
      await this.own.note(error, { isTriedAgain: true });
    }
  }

  /** VMs that live, and do not do what the filters were told last. A switch finds out which cannot be asked. */
  private async behind(ageMs?: number): Promise<readonly Missing[]> {
    const vms = await Promise.all(this.filters.all.map((one) => one.vms(ageMs).catch(() => [])));
    return acknowledged(
      this.own.record,
      vms.flat().filter(({ stale }) => !stale),
    ).missing;
  }

  /** Tells the filters where the tenant is and what they are to do, behind all that they were told. */
  private async tellAgain(): Promise<void> {
    if (!this.own.record.alarm?.isStopped) return this.filters.open('calm');
    // It must go on being held.
    await this.own.change((record) => withStop(record, false));
    await this.alarms.halt();
  }
}
