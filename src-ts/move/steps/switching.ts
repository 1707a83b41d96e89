/** How a switch begins, is decided, is given up or is declined, in the record. */
import { CommandError } from '../../errors.ts';
import { isBetweenStorages } from '../place.ts';
import type { Commitment, MoveRecord } from '../record.ts';
import { progressOf, type Feeds } from './feeds.ts';
import type { MoveFilters } from './filters.ts';
import type { Hold } from './hold.ts';
import { Lost, NO_PROBLEM, withoutSwitch, type Fields, type OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

/** What is being done while requests are held, in words. */
export const DECIDING = 'transactions that were being committed were being ended';
export const ASKING_PD = 'PD was being asked';
export const ALL_HELD_HINT =
  'see if PD and the stores of both sides answer, and if large transactions are open; or give --hold-all more time';

export class Switching {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly tools: Pick<Tools, 'tell'>,
  ) {}

  /** Leads back, unless the switch was decided in spite of the error. Only then it is known whose locks lie at the target. */
  async giveUp(error: unknown): Promise<void> {
    if (error instanceof Lost) throw error;
    if (error instanceof CommandError) await this.goBack(`${error.message}; ${error.hint}`);
    else await this.goBack(error instanceof Error ? error.message : String(error));
  }

  /** Does not begin a switch that was asked for, and says why. */
  async decline(problem: string): Promise<false> {
    await this.own.change((record) => ({ wish: withoutSwitch(record), problem, isTriedAgain: undefined }));
    return false;
  }

  /** Nothing to write. @throws Error when an operator has asked for something else meanwhile */
  stillWished({ wish }: MoveRecord): Fields {
    if (wish !== 'switch') throw new Error(`it was asked to ${wish ?? 'stay'} meanwhile`);
    return {};
  }

  /** Writes down where the tenant is served from now on, unless it is too late, or an operator has given the move up meanwhile. */
  decide(committed: Commitment, hold: Hold): Promise<void> {
    return this.own.enter('switching', (record) => {
      hold.check();
      return { ...this.stillWished(record), state: 'committing', wish: undefined, committed };
    });
  }

  /** @returns the serial of what the filters are told from now on */
  async begin(feeds: Feeds): Promise<number> {
    const serial = this.own.record.serial + 1;
    await this.own.enter('following', {
      state: 'switching',
      serial,
      ...NO_PROBLEM,
      progress: progressOf(this.own.record, feeds),
    });
    return serial;
  }

  /** Lets everything go on at the source. */
  async goBack(why: string): Promise<boolean> {
    // A change that got no answer may have been made. This one is made behind it, and shows.
    await this.own.change({});
    await this.own.look();
    if (this.own.record.state !== 'switching') return false;
    this.tools.tell(`${this.own.tenant}: going back, since ${why}`);
    await this.filters.open('calm');
    const problem = `the switch was not done: ${why}`;
    await this.own.enter('switching', (record) => ({
      state: 'following',
      wish: withoutSwitch(record),
      ...(isBetweenStorages(this.own.record) ? { keptState: undefined } : {}),
      problem,
      isTriedAgain: undefined,
    }));
    return false;
  }
}
