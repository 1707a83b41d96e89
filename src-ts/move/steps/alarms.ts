/** The alarms of a move that follows: somebody has written, or may write, where the tenant is not served. */
import { isDeepStrictEqual } from 'node:util';
import type { Engine } from '../engine/engine.ts';
import { placeText, type Place } from '../place.ts';
import type { Alarm, ForeignCommit, MoveRecord } from '../record.ts';
import { tidbsText } from '../wishes.ts';
import { progressOf, type Feeds } from './feeds.ts';
import type { MoveFilters } from './filters.ts';
import type { Limits } from './limits.ts';
import { ordersFor } from './orders.ts';
import { Lost, NO_PROBLEM, type Fields, type OwnRecord } from './own-record.ts';
import type { Tools } from './tools.ts';

/** Commits that an alarm names, and alarms that a record keeps. */
const MOST_COMMITS = 20;
const MOST_ALARMS = 10;

function newAlarm(place: Place): Alarm {
  return { at: Date.now(), place, commits: [], count: 0, isStopped: false };
}

/** An alarm for TiDBs that run where they should not. It ends with them, unless there are commits as well. */
function withTidbs({ alarm, to }: MoveRecord, tidbs: readonly string[]): Fields {
  if (tidbs.length > 0) return { alarm: { ...(alarm ?? newAlarm(to)), tidbs }, wish: undefined };
  if (!alarm?.tidbs) return {};
  return { alarm: alarm.count > 0 ? { ...alarm, tidbs: undefined } : undefined };
}

/** An alarm as it is, and whether the filters hold the tenant for it. An operator may have accepted it meanwhile. */
export function withStop({ alarm }: MoveRecord, isStopped: boolean): Fields {
  return { alarm: alarm && { ...alarm, isStopped } };
}

/** An alarm for these commits, too. What an operator has accepted does not hide them. */
function withCommits(record: MoveRecord, foreign: readonly ForeignCommit[]): Fields {
  const { alarm, to, pastAlarms = [] } = record;
  const known = (alarm?.isAccepted ? undefined : alarm) ?? newAlarm(to);
  return {
    alarm: {
      ...known,
      commits: [...known.commits, ...foreign].slice(0, MOST_COMMITS),
      count: known.count + foreign.length,
      isStopped: alarm?.isStopped ?? false,
    },
    ...(alarm?.isAccepted ? { pastAlarms: [...pastAlarms, alarm].slice(-MOST_ALARMS) } : {}),
  };
}

/** Raises alarms, has the filters hold the tenant for them, and lets it go on when an operator has accepted them. */
export class Alarms {
  constructor(
    private readonly own: OwnRecord,
    private readonly filters: MoveFilters,
    private readonly tools: Pick<Tools, 'onAlarm' | 'tell'>,
    private readonly limits: Pick<Limits, 'obeyMs'>,
  ) {}

  /** Writes down that somebody else has committed at the target. */
  async raise(foreign: readonly ForeignCommit[], feeds: Feeds): Promise<void> {
    const { to } = this.own.record;
    this.tools.tell(
      `${this.own.tenant}: ${foreign.length} commits of somebody else at ${placeText(this.own.record, to)}, where it is not served`,
    );
    await this.own.change((record) => ({
      ...withCommits(record, foreign),
      wish: undefined,
      progress: progressOf(this.own.record, feeds),
    }));
    await this.halt();
  }

  /** TiDBs at a cluster that the tenant has left lose what they write. They soon do, even without a client. */
  async watchCluster(engine: Engine): Promise<void> {
    // What does not answer is asked again, and before a switch it must.
    const running = await engine.strangers().catch(() => undefined);
    const known = this.own.record.alarm?.tidbs ?? [];
    if (running === undefined || isDeepStrictEqual(running, known)) return;
    const { to } = this.own.record;
    if (running.length > 0)
      this.tools.tell(`${this.own.tenant}: ${tidbsText(running, placeText(this.own.record, to))}`);
    await this.own.change((record) => withTidbs(record, running));
  }

  /** True while there is an alarm for which the filters do not hold the tenant yet. */
  get isToHalt(): boolean {
    const { alarm, from } = this.own.record;
    // No filter is in front of a cluster outside of the mesh.
    if (from.cluster !== undefined || this.tools.onAlarm === 'report') return false;
    return alarm !== undefined && alarm.count > 0 && !alarm.isStopped && !alarm.isAccepted;
  }

  /** Has every filter hold the tenant, as long as there is an alarm. Done again until all of them do. */
  async halt(): Promise<void> {
    if (!this.isToHalt) return;
    const serial = this.own.record.serial + 1;
    await this.own.change({ serial });
    try {
      const all = { timeoutMs: this.limits.obeyMs };
      await this.filters.order(ordersFor(this.own.record, 'final', serial), all);
      await this.own.change((record) => ({ ...withStop(record, true), ...NO_PROBLEM }));
    } catch (error) {
      if (error instanceof Lost) throw error;
      await this.own.note(error);
    }
  }

  /** Lets the tenant go on when an operator has accepted an alarm. */
  async lift(): Promise<void> {
    const { alarm, pastAlarms = [] } = this.own.record;
    if (!alarm?.isAccepted) return;
    this.tools.tell(`${this.own.tenant}: goes on after an alarm`);
    await this.filters.open('prepare');
    await this.own.change({ alarm: undefined, pastAlarms: [...pastAlarms, alarm].slice(-MOST_ALARMS) });
  }
}
