/** What a half-way move or import means: where its tenant is served, what holds it, and the two ways out. It asks nobody (doctor.ts does). */
import { ageText } from '../../tenants/holders.ts';
import type { Tenant } from '../../tenants/tenant.ts';
import { isClaimed } from '../claims.ts';
import type { Acknowledged } from '../filters/acknowledged.ts';
import type { Order } from '../filters/mesh.ts';
import { isBetweenStorages, placeText, type Place } from '../place.ts';
import { isLeftClosed, isServedElsewhere, type MoveRecord } from '../record.ts';
import { alarmText, isAtHome, type Verb } from '../wishes.ts';
import { keptText } from './kept-copy.ts';
import type { Oldest } from './look.ts';
import { lagText, summaryOf, type Progress } from './show.ts';

/** What a move leads from or to that has another PD than the records: a cluster outside of the mesh, or a storage layer of it. */
export interface Other {
  readonly kind: 'cluster' | 'storage';
  readonly name: string;
}

/** The other one, as it was found. */
export interface Away {
  readonly name: string;
  /** Why it cannot be asked; undefined when it answers. */
  readonly gone?: string;
  /** What answers is another PD than when the move began: by its id, which the contradictions name. */
  readonly isAnother?: true;
  /** Addresses of the TiDBs that are registered there, when it is a cluster. */
  readonly tidbs: readonly string[];
}

/** What was found beside the record. */
export interface Facts {
  /** A worker lives, as `workedOn` has found out; by the clock here without it. */
  readonly hasWorker?: boolean;
  readonly away?: Away;
  /** Stores that are not up, in words. */
  readonly down: readonly string[];
  /** What is wrong between both PDs, in words. */
  readonly contradictions?: readonly string[];
  readonly acknowledged?: Acknowledged;
  /** What the configuration tells the filters. */
  readonly told?: Order;
  readonly oldestLock?: Oldest | null;
  /** What could not be asked, and why. */
  readonly failures: readonly string[];
}

/** How the commands are written that the operator is offered. */
export interface Commands {
  /** `tidb-mesh move VERB TENANT …`, which waits until it is done. */
  verb(verb: Verb | 'show', tenant: string, option?: string): string;
  /** Starts a worker. */
  run(): string;
}

/** One of the two ways out. */
export interface Way {
  /** False when it is closed; `what` says why. */
  readonly isOpen: boolean;
  readonly what: string;
  /** To be run one after the other. */
  readonly commands: readonly string[];
}

export interface Diagnosis {
  readonly tenant: string;
  /** Of the record; `lost` when only the configuration says that the tenant is being moved. */
  readonly state: string;
  /** It does not go on, or loses something, without an operator. */
  readonly needsYou: boolean;
  readonly means: string;
  /** Where the tenant is served now. */
  readonly served: string;
  /** What becomes of its requests. */
  readonly requests: string;
  readonly worker: string;
  /** What keeps it from going on. */
  readonly holds: readonly string[];
  readonly forward: Way;
  readonly back: Way;
  readonly failures: readonly string[];
}

/** A target that is so far behind, ms, holds a switch back. */
const BEHIND_MS = 5000;
const MOST_SHOWN = 5;

const open = (what: string, ...commands: string[]): Way => ({ isOpen: true, what, commands });
const closed = (what: string, ...commands: string[]): Way => ({ isOpen: false, what, commands });

function listed(all: readonly string[]): string {
  return all.slice(0, MOST_SHOWN).join(', ') + (all.length > MOST_SHOWN ? ', …' : '');
}

/** What the move is from or to that has another PD than the record; undefined when both sides have the same PD. */
export function otherOf(record: Pick<MoveRecord, 'from' | 'to' | 'home'>): Other | undefined {
  const { from, to, home } = record;
  const cluster = from.cluster ?? to.cluster;
  if (cluster !== undefined) return { kind: 'cluster', name: cluster };
  if (!isBetweenStorages(record)) return undefined;
  const name = from.storage === home ? to.storage : from.storage;
  return name === undefined ? undefined : { kind: 'storage', name };
}

/** True when the target is too far behind for a switch. */
export function isBehind({ state, progress }: MoveRecord): boolean {
  const { lagMs = 0 } = (progress ?? {}) as Progress;
  return state === 'following' && (lagMs === null || lagMs > BEHIND_MS);
}

/** What a filter does with requests in this phase. */
const PHASE_TEXTS: Readonly<Record<Order['phase'], string>> = {
  prepare: 'pass, apart from bulk loads',
  calm: 'pass, apart from bulk loads',
  drain: 'new writes are held',
  fence: 'writes, commits and reads as of now are held',
  final: 'all are held, without an end',
  over: 'pass, apart from bulk loads',
};

function isPhase(text: string | undefined): text is Order['phase'] {
  return text !== undefined && Object.hasOwn(PHASE_TEXTS, text);
}

function phaseText(phase: Order['phase'], until: number | undefined): string {
  const ends = until === undefined || phase === 'calm';
  return ends ? PHASE_TEXTS[phase] : `${PHASE_TEXTS[phase]}, until ${new Date(until).toISOString()}`;
}

/** Judges one move. */
class Case {
  private readonly tenant: string;
  /** Where it is served, and the other side. */
  private readonly here: string;
  private readonly there: string;
  private readonly isImport: boolean;
  private readonly other: Other | undefined;
  private readonly hasWorker: boolean;

  constructor(
    private readonly record: MoveRecord,
    private readonly facts: Facts,
    private readonly commands: Commands,
    now: number,
  ) {
    const { tenant, from, to } = record;
    this.tenant = tenant;
    this.here = placeText(record, from);
    this.there = placeText(record, to);
    this.other = otherOf(record);
    this.isImport = this.other?.kind === 'cluster';
    this.hasWorker = facts.hasWorker ?? isClaimed(record, now);
  }

  diagnosis(): Diagnosis {
    const { record, facts } = this;
    return {
      tenant: this.tenant,
      state: record.state,
      needsYou: this.needsYou,
      means: this.means,
      served: this.served,
      requests: this.requests,
      worker: this.worker,
      holds: this.holds,
      forward: this.forward,
      back: this.back,
      failures: facts.failures,
    };
  }

  private isGone(place: Place): boolean {
    const { other } = this;
    if (!other || !this.lacksOther) return false;
    return other.name === (other.kind === 'cluster' ? place.cluster : place.storage);
  }

  private get otherText(): string {
    const { kind, name } = this.other ?? { kind: '', name: '' };
    return `${kind} ${name}`;
  }

  private get mustAnswer(): string {
    return `${this.otherText} must answer first`;
  }

  /** Nothing of what was asked for can be done until it is back. */
  private get lacksOther(): boolean {
    const { away } = this.facts;
    return away?.gone !== undefined || away?.isAnother === true;
  }

  /** Why it is as if it were gone. */
  private get goneText(): string {
    return this.facts.away?.isAnother ? 'has another PD than when the move began' : 'does not answer';
  }

  /** Where the copy is kept, since what serves the tenant is gone for good. */
  private get isLeft(): boolean {
    return isLeftClosed(this.record);
  }

  private get strangers(): readonly string[] {
    const { record, facts } = this;
    return record.to.cluster === undefined ? [] : (facts.away?.tidbs ?? []);
  }

  /** A switch waits for filters anyway. */
  private get isDeaf(): boolean {
    const { record, facts } = this;
    const isResting = record.state === 'following' || record.state === 'copying';
    return isResting && (facts.acknowledged?.missing.length ?? 0) > 0;
  }

  private get needsYou(): boolean {
    const { alarm, problem, isPaused } = this.record;
    const isStuck = !this.hasWorker || isPaused || alarm !== undefined || problem !== undefined;
    const isApart = (this.facts.contradictions?.length ?? 0) > 0;
    return isStuck || isApart || this.lacksOther || this.strangers.length > 0 || this.isDeaf;
  }

  private get means(): string {
    const { record, here, there } = this;
    const way = this.isImport ? 'is being imported' : 'is being moved';
    switch (record.state) {
      case 'planned':
        return `it ${way} from ${here} to ${there}; nothing is copied yet`;
      case 'copying':
        return `it ${way} from ${here} to ${there}; its keys are being copied: ${summaryOf(record).progress}`;
      case 'following':
        return isAtHome(record)
          ? `its keys are copied from ${here} to ${there}, and its changes are carried there; it was not switched yet, or taken back`
          : `it was switched to ${here}; its changes are carried back to ${there}, so that the way back loses nothing`;
      case 'switching':
        return `a switch from ${here} to ${there} has begun, and is not decided: if it fails, the tenant stays at ${here}`;
      case 'committing':
        return `a switch to ${placeText(record, record.committed?.served ?? record.to)} is decided, and not all filters are known to have heard of it`;
      case 'completing':
        return `the move ends: ${this.end}, and the tenant stays at ${here}`;
      case 'cancelling':
        return `the move is given up: ${this.end}, and the tenant stays at ${here}${this.isLeft ? ', suspended' : ''}`;
    }
  }

  /** What the end of a move does with the other side. */
  private get end(): string {
    const { otherIsGone, to } = this.record;
    if (otherIsGone) return `what is at ${this.there} is kept`;
    const { cluster } = to;
    return cluster === undefined
      ? `the keys at ${this.there} are being destroyed`
      : `cluster ${cluster} keeps its keys, and nothing is carried there any more`;
  }

  private get served(): string {
    const { from, to, state, committed } = this.record;
    const place = state === 'committing' ? (committed?.served ?? to) : from;
    const where = placeText(this.record, place);
    if (this.isGone(place)) return `nowhere: ${where} ${this.goneText}`;
    if (this.isLeft) return `nowhere: ${where} is gone for good, by an operator's word`;
    if (place.cluster !== undefined) return `at ${where}, by its own TiDBs; the mesh serves nothing of it`;
    return state === 'committing' ? `at ${where}, by each filter that has heard of it` : `at ${where}`;
  }

  private get requests(): string {
    const { state, from, to, alarm, committed } = this.record;
    if (state === 'committing') {
      const place = committed?.served ?? to;
      const others = from.cluster === undefined ? 'held' : 'refused';
      return place.cluster === undefined
        ? `pass where the filter has heard of the switch, and are ${others} where it has not`
        : "none pass: start the cluster's TiDBs when all filters have heard of it";
    }
    if (from.cluster !== undefined) {
      if (this.isGone(from)) return 'none pass, neither at the cluster nor in the mesh';
      return state === 'switching'
        ? 'none pass: its TiDBs are stopped, and the mesh serves it after the switch'
        : 'pass at the cluster, where no filter stands in front of them';
    }
    if (this.isGone(from)) return `none are answered while ${this.otherText} ${this.goneText}`;
    if (alarm?.isStopped) return `all are held until an operator goes on: move resume ${this.tenant}`;
    const { acknowledged, told } = this.facts;
    const { serial } = this.record;
    if (isPhase(acknowledged?.phase))
      return phaseText(acknowledged.phase, told?.serial === serial ? told.until : undefined);
    if (told?.serial === serial) return phaseText(told.phase, told.until);
    if (state !== 'switching') return PHASE_TEXTS.prepare;
    return 'writes may be held: the record does not say in which phase the filters are; --envoy asks them';
  }

  private get worker(): string {
    const { worker } = this.record;
    if (worker === undefined) return 'none works on it';
    if (this.hasWorker) return `${worker.id} works on it`;
    const until = new Date(worker.until).toISOString();
    return `none works on it; ${worker.id} was the last one, until ${until} by its own clock`;
  }

  private get holds(): readonly string[] {
    const { record, facts } = this;
    const { alarm, problem, isPaused, progress, wish } = record;
    const { trouble, lagMs } = (progress ?? {}) as Progress;
    const { away, acknowledged, oldestLock } = facts;
    const gone =
      away?.gone === undefined || away.isAnother ? [] : [`${this.otherText} does not answer: ${away.gone}`];
    const strangers =
      this.strangers.length === 0 || alarm?.tidbs
        ? []
        : [
            `TiDBs run at ${this.there}, where the tenant is not served: ${listed(this.strangers)}. Stop them: what they write is lost`,
          ];
    return [
      ...gone,
      ...(facts.contradictions ?? []),
      ...facts.down,
      ...strangers,
      ...(alarm ? [`alarm: ${alarmText(record, alarm)}`] : []),
      ...(this.hasWorker ? [] : ['no worker']),
      ...(isPaused ? ['it is paused, and garbage collection keeps old versions meanwhile'] : []),
      ...(problem === undefined ? [] : [`the last step has failed: ${problem}`]),
      ...(trouble === undefined ? [] : [`a change feed is tried again: ${trouble}`]),
      ...(isBehind(record) ? [`the target is ${lagText(lagMs)}`] : []),
      ...(isBehind(record) && oldestLock ? [lockText(oldestLock)] : []),
      ...(acknowledged?.missing ?? []).map(({ vm, why }) => `filter ${vm} ${why}`),
      ...(wish === undefined ? [] : [`an operator has asked: ${wish}`]),
    ];
  }

  /** What must be done first, on either way. */
  private get first(): readonly string[] {
    const { commands, tenant } = this;
    const { alarm, isPaused } = this.record;
    // One for TiDBs alone ends with them.
    const isToAccept = alarm !== undefined && alarm.count > 0;
    return [
      ...(this.hasWorker ? [] : [commands.run()]),
      ...(isToAccept ? [commands.verb('show', tenant)] : []),
      ...(isToAccept || isPaused ? [commands.verb('resume', tenant)] : []),
    ];
  }

  private verbs(...verbs: Verb[]): string[] {
    return verbs.map((verb) => this.commands.verb(verb, this.tenant));
  }

  private get forward(): Way {
    const { record, here, there, first } = this;
    const { state, from, to } = record;
    const stop = from.cluster === undefined ? '' : `stop the TiDBs of ${here}; then `;
    switch (state) {
      case 'planned':
      case 'copying':
        if (this.isGone(from))
          return closed(`${here} must answer first: what is not copied yet is only there`, ...first);
        return open(
          `wait until it is followed; ${stop}switch it to ${there}`,
          ...first,
          ...this.verbs('switch'),
        );
      case 'following':
        if (this.isGone(from))
          return closed(
            `${here} must answer first. No command serves a copy that may lack the last commits`,
            ...first,
          );
        if (this.isGone(record.to) && !this.isImport) return this.without;
        if (!isAtHome(record))
          return open(
            `stay at ${here}, and end the move; ${this.isImport ? `${there} keeps its keys` : `the keys at ${there} are destroyed`}`,
            ...first,
            ...this.verbs('complete'),
          );
        return open(`${stop}switch it to ${there}`, ...first, ...this.verbs('switch'));
      case 'switching': {
        // It can go back there without it.
        if (this.lacksOther && !this.isImport && !this.isGone(from)) return this.without;
        const again = isAtHome(record) ? 'switch' : 'reverse';
        const why = `a worker ends the switch, or goes back to ${here} by itself; if it has gone back, ask again`;
        if (this.lacksOther) return closed(this.mustAnswer, ...first);
        return open(why, ...first, ...this.verbs(again));
      }
      case 'committing': {
        const served = record.committed?.served ?? to;
        if (this.isGone(served))
          return closed(
            `${placeText(record, served)} must answer first: the tenant belongs there by the record, and nobody else may serve it`,
            ...first,
          );
        if (this.lacksOther && !this.isImport) return this.without;
        return open(
          'bring the newest configuration to every Envoy; a worker waits for all of them',
          ...first,
        );
      }
      case 'completing':
        if (this.isGone(record.to) && !this.isImport && !record.otherIsGone) return this.without;
        return open('a worker ends it by itself', ...first);
      case 'cancelling':
        return closed(
          this.isLeft ? 'it was given up' : 'it was given up; begin again when it has ended',
          ...first,
        );
    }
  }

  private get back(): Way {
    const { record, here, there, first } = this;
    switch (record.state) {
      case 'planned':
      case 'copying':
      case 'following':
        return isAtHome(record) ? this.giveUp : this.reverse;
      case 'switching':
        if (this.isLost) return this.leave;
        if (this.lacksOther && !this.isImport) return closed(this.mustAnswer, ...first);
        return open(
          isAtHome(record)
            ? `give the move up: the switch ends, and the tenant stays at ${here}`
            : `a worker goes back to ${here} by itself when the switch fails; then end the move there`,
          ...first,
          ...this.verbs(isAtHome(record) ? 'cancel' : 'complete'),
        );
      case 'committing':
        if (this.isLost) return this.leave;
        if (this.lacksOther) return closed(this.mustAnswer, ...first);
        return open(
          'wait until the switch has ended, since some Envoy may serve the new place already; then go back',
          ...first,
          ...this.verbs(isAtHome(record) ? 'reverse' : 'switch'),
        );
      case 'completing':
        return closed(
          this.isImport
            ? `${there} lacks what is written in the mesh from now on`
            : `the keys at ${there} are being destroyed; to go there again, begin a new move when it has ended`,
        );
      case 'cancelling':
        if (this.isLost) return this.leave;
        return open(`a worker ends it by itself; the tenant stays at ${here}`, ...first);
    }
  }

  /** The tenant is served here, and the other storage layer, which would have to obey and to be emptied, does not answer. */
  private get without(): Way {
    const { first, commands, tenant, record } = this;
    const served = placeText(record, record.committed?.served ?? record.from);
    return open(
      `${this.untilBack}. If it is gone for good, stay at ${served} and end the move without it; what is left there is not destroyed`,
      ...first,
      commands.verb('complete', tenant, '--other-is-gone'),
    );
  }

  private get untilBack(): string {
    return this.facts.away?.isAnother
      ? `give the address of the PD that ${this.otherText} had`
      : `wait until ${this.otherText} answers`;
  }

  /** The storage layer that serves the tenant, by the record, is gone. */
  private get isLost(): boolean {
    return this.isLeft || (this.lacksOther && isServedElsewhere(this.record));
  }

  /** Then no command makes of the copy what serves the tenant. */
  private get leave(): Way {
    const { hasWorker, commands, tenant, record } = this;
    const run = hasWorker ? [] : [commands.run()];
    const has = `${keptText(record)}. docs/move.md says what can be done with the copy, and at what risk`;
    if (this.isLeft) return open(`a worker ends the move by itself, and keeps the copy. ${has}`, ...run);
    return open(
      `${this.untilBack}. Until then, nothing of the copy is destroyed. If it is gone for good, end the move without it: the copy is kept, and the tenant is suspended, so nobody serves it. ${has}`,
      ...run,
      commands.verb('cancel', tenant, '--without-storage'),
    );
  }

  private get giveUp(): Way {
    const { record, here, there, first } = this;
    if (this.isLost) return this.leave;
    // Nothing of an import is destroyed while its cluster does not answer.
    const isLast = this.isGone(record.from) && record.state !== 'planned';
    const last = isLast
      ? `. If ${here} does not come back, this copy is the last one: think before you destroy it`
      : '';
    return open(
      `give it up: the copy at ${there} is destroyed, and the tenant stays at ${here}${last}`,
      ...first,
      ...this.verbs('cancel').map((command) => (isLast ? `${command} --without-cluster` : command)),
    );
  }

  private get reverse(): Way {
    const { here, there, first } = this;
    if (this.isGone(this.record.to))
      return closed(
        `${there} must answer first; the tenant works on at ${here}, and what it writes is carried back later`,
        ...first,
      );
    const then = this.isImport ? `; then start the TiDBs of ${there}` : '';
    return open(
      `take it back to ${there} with all that was written since${then}; then give the move up`,
      ...first,
      ...this.verbs('reverse', 'cancel'),
    );
  }
}

/** Where only the configuration says that a tenant is being moved. */
export interface Told {
  readonly tenant: string;
  readonly place: string;
  readonly order: Order;
  /** The storage layer that serves it, in a file with several. */
  readonly storage?: string;
  /** That one is closed yet: the file is of the middle of a switch, behind the hand-over by this one, which is closed, too. */
  readonly handedOverBy?: string;
  /** All storage layers of such a file. */
  readonly storages?: readonly string[];
  /** The tenant with its keys, which are the same ones wherever it is. */
  readonly keys?: Tenant;
}

/** The PD with the records does not answer. */
export interface Gone {
  readonly gone: string;
  /** The storage layer that serves the tenant by the configuration, when its PD is another one. */
  readonly served?: { readonly gone?: string };
  /** The storage layer that has handed the tenant over, when its PD is another one. */
  readonly handedOverBy?: { readonly gone?: string };
}

/** What a file must tell the filters before it can leave the move out. Serials begin with the seconds since 1970. */
function endOf({ serial, phase }: Order, now: number): string {
  if (phase === 'over') return '';
  const last = Math.max(serial + 1, Math.floor(now / 1000));
  return `set \`move\` of its entry in the file to \`{serial: ${last}, phase: over}\`, bring the file to the Envoys, wait until all show that phase, then `;
}

/** What can be said of a move whose record is not there: PD does not answer, or does not have it. */
export function withoutRecord(one: Told, without?: Gone, now = Date.now()): Diagnosis {
  const { tenant, place, order } = one;
  const means = `the configuration says that it is being moved (serial ${order.serial}, phase ${order.phase}), and `;
  const common = {
    tenant,
    needsYou: true,
    requests: phaseText(order.phase, order.until),
    worker: 'not known',
    failures: [],
  };
  if (without) return { ...common, ...withoutPd(one, without, means, now) };
  return {
    ...common,
    state: 'lost',
    means: `${means}PD has no record of it: the file is older than the end of the move, or PD's etcd was restored`,
    served: `at ${place}, by the configuration`,
    holds: ['no record: no worker goes on with it'],
    forward: open(
      `see that the tenant's keys are at ${place}; if so, ${endOf(order, now)}remove \`move\` from its entry in the file, and bring the file to the Envoys`,
    ),
    back: closed('nothing says where it came from'),
  };
}

/** What is known of the other PDs, where the one that was asked has no record. */
export interface Elsewhere {
  /** The storage layer whose PD has it. */
  readonly holder?: string;
  /** Those that could not be asked, and why. */
  readonly silent?: ReadonlyMap<string, string>;
}

/** Of a file with several storage layers: the PD that was asked has no record. That of another one has it, or may have it. */
export function recordElsewhere(
  { tenant, place, order }: Told,
  { holder, silent = new Map() }: Elsewhere,
): Diagnosis {
  const names = [...silent.keys()].join(' and ');
  const way =
    holder !== undefined
      ? closed(`ask again with the PD of storage ${holder} as --pd, and the others in --storages`)
      : silent.size > 0
        ? closed(`storage ${names} must answer first: its PD may have the record`)
        : closed('ask again with each storage layer of the file, but that of --pd, in --storages');
  return {
    tenant,
    state: 'unknown',
    needsYou: true,
    means: `the configuration says that it is being moved (serial ${order.serial}, phase ${order.phase}), and this PD has no record of it: ${holder === undefined ? "another storage layer's PD may have it" : `that of storage ${holder} has it`}`,
    served: `at ${place}, by the configuration`,
    requests: phaseText(order.phase, order.until),
    worker: 'not known',
    holds: [...silent].map(([name, why]) => `storage ${name} does not answer: ${why}`),
    forward: way,
    back: way,
    failures: [],
  };
}

type Partly = Pick<Diagnosis, 'state' | 'means' | 'served' | 'requests' | 'holds' | 'forward' | 'back'>;

/** The records are in a PD that does not answer. */
function withoutPd(one: Told, { gone, served, handedOverBy }: Gone, means: string, now: number): Partly {
  const { place, order } = one;
  const isServed = served !== undefined && served.gone === undefined;
  const common = {
    state: 'unknown',
    means: `${means}PD, which has the record, does not answer`,
    holds: [
      `the storage layer ${served ? 'with the record ' : ''}does not answer: ${gone}`,
      ...(served?.gone === undefined ? [] : [`that of ${place} does not answer: ${served.gone}`]),
    ],
    forward: closed(
      'PD must answer first. The record is in its etcd, and a worker goes on from it when PD is back',
    ),
  };
  if (one.handedOverBy !== undefined)
    return {
      ...common,
      served: nowhereText(place, one.handedOverBy),
      requests: phaseText(order.phase, order.until),
      back: handedOver(
        one,
        one.handedOverBy,
        {
          isServed,
          isSourceThere: handedOverBy?.gone === undefined,
          before: (lost) =>
            `when PD is back, a worker goes on. If the data of storage ${lost} is lost for good`,
        },
        now,
      ),
    };
  if (!isServed)
    return {
      ...common,
      served: `nowhere; ${place} by the configuration`,
      requests: 'none are answered while PD does not answer',
      back: closed(
        'PD must answer first. If its data is lost, the tenant is lost with it: restore both from a backup',
      ),
    };
  return {
    ...common,
    served: `at ${place}, by the configuration`,
    requests: phaseText(order.phase, order.until),
    back: open(
      `stay at ${place}: when PD is back, give the move up. If its data is lost, ${endOf(order, now)}remove \`move\` and \`movesTo\` or \`movedFrom\` from the entry, and bring the file to the Envoys`,
    ),
  };
}

/** Of a tenant's two storage layers in the middle of a switch: what is known of their PDs. */
interface Both {
  readonly isServed: boolean;
  readonly isSourceThere: boolean;
  /** What comes before a storage layer is given up. */
  before(lost: string): string;
}

/**
 * The record is lost behind a hand-over. By then all that was committed is at both sides, and neither has been opened: the one that is left
 * has everything.
 */
function handedOver(
  { place, order, storage }: Told,
  from: string,
  { isServed, isSourceThere, before }: Both,
  now: number,
): Way {
  const [left, lost] = isServed ? [place, from] : [`storage ${from}`, storage ?? ''];
  if (!isServed && !isSourceThere)
    return closed(`PD of storage ${from} or ${lost} must answer first: one of them must serve the tenant`);
  const end = `${endOf(order, now)}remove \`move\`, and bring the file to the Envoys`;
  // Its TiDBs know versions of regions, and may know times, that this side has not been told of.
  const what = isServed
    ? `Stop its TiDBs. Remove \`latestSeen\` and \`movedFrom\` from its entry, and set the \`state\` that its operator wants; ${end}. Then start them`
    : `Make its entry what its \`movedFrom\` says, that is \`storage: ${from}\` and the fields there, and nothing else of its place; remove \`movedFrom\`, and set the \`state\` that its operator wants; ${end}`;
  return open(
    `${before(lost)}: ${left} has all that was committed. See that the file is the worker's own, the newest, and that no Envoy of storage ${lost} runs any more. ${what}`,
  );
}

/** Which of the tenant's storage layers have it: its PD knows the tenant, and its stores have keys of it. */
export interface Having {
  /** The storage layer that serves the tenant, by the file. */
  readonly served: boolean;
  /** The one that has handed it over, if so. */
  readonly handedOverBy?: boolean;
}

/** The PDs of all storage layers of the file have answered, and none has the record. */
export function recordGone(one: Told, { served, handedOverBy = false }: Having, now = Date.now()): Diagnosis {
  const { tenant, place, order, storage = '', handedOverBy: from, storages = [] } = one;
  const without = [...(served ? [] : [storage]), ...(from === undefined || handedOverBy ? [] : [from])];
  const means = `the configuration says that it is being moved (serial ${order.serial}, phase ${order.phase}), and the PDs of storage ${storages.join(' and ')} answer, and have no record of it: the file is older than the end of the move, or a PD has lost its data`;
  return {
    tenant,
    state: 'lost',
    needsYou: true,
    means,
    requests: phaseText(order.phase, order.until),
    worker: 'not known',
    holds: [
      'no record: no worker goes on with it',
      ...without.map(
        (name) => `storage ${name} has nothing of the tenant: its data is lost, or it is another one`,
      ),
    ],
    failures: [],
    ...(from === undefined
      ? { ...aloneAt(one, served, now), back: closed('nothing says where it came from') }
      : {
          served: nowhereText(place, from),
          forward: closed('no worker goes on without the record'),
          // Of two that have it, the one whose versions and times its TiDBs know.
          back: handedOver(
            one,
            from,
            { isServed: served && !handedOverBy, isSourceThere: handedOverBy, before: withoutRecordText },
            now,
          ),
        }),
  };
}

function aloneAt(
  { place, order, storage = '' }: Told,
  isThere: boolean,
  now: number,
): Pick<Diagnosis, 'served' | 'forward'> {
  if (!isThere)
    return {
      served: `nowhere; ${place} by the configuration`,
      forward: closed(
        `storage ${storage} must have its data again. If that is lost for good, restore the tenant from a backup: a copy in another storage layer may lack the last commits`,
      ),
    };
  return {
    served: `at ${place}, by the configuration`,
    forward: open(
      `see that the tenant's keys are at ${place}; if so, ${endOf(order, now)}remove \`move\` and \`movesTo\` or \`movedFrom\` from its entry in the file, and bring the file to the Envoys`,
    ),
  };
}

function withoutRecordText(lost: string): string {
  return `no worker goes on without the record. See that each address is the right one, and that no backup of PD of storage ${lost} has the record. Without one`;
}

function nowhereText(place: string, from: string): string {
  return `nowhere: the file is of the middle of a switch to ${place}, behind the hand-over by storage ${from}, and nobody has opened it`;
}

function lockText({ table, tableId, ageMs, isPessimistic }: Oldest): string {
  const where = tableId === undefined ? "TiDB's own keys" : `table ${table ?? tableId}`;
  return `the oldest lock: ${where}, ${isPessimistic ? 'of an open transaction' : 'being committed'} for ${ageText(Date.now() - ageMs)}`;
}

/** Judges a move by its record and what was found beside it. */
export function diagnose(record: MoveRecord, facts: Facts, commands: Commands, now = Date.now()): Diagnosis {
  return new Case(record, facts, commands, now).diagnosis();
}
