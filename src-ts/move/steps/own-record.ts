/** The record of a move whose worker this one is: it is read and written only as long as no other worker has taken the move. */
import { CommandError } from '../../errors.ts';
import { CLAIM_MS, type Claims } from '../claims.ts';
import {
  findMove,
  forget,
  moveOf,
  Overtaken,
  save,
  type MoveRecord,
  type PieceMap,
  type State,
  type Stored,
} from '../record.ts';
import type { Reached, Tools } from './tools.ts';

/** Another worker has taken the move over. */
export class Lost extends Error {}

/** Fields of a record to be written. `undefined` removes one. */
export type Fields = { [Name in keyof MoveRecord]?: MoveRecord[Name] | undefined };

export const NO_PROBLEM: Fields = { problem: undefined, isTriedAgain: undefined };

/** What is left of a wish when the switch that was asked for is over, done or not. */
export function withoutSwitch({ wish }: MoveRecord): MoveRecord['wish'] {
  return wish === 'switch' ? undefined : wish;
}

export class OwnRecord {
  private stored!: Stored;
  /** Changes of the record take turns. */
  private last: Promise<unknown> = Promise.resolve();
  /** When the move was this worker's for sure, by both clocks: that of a host which is stopped as a whole may stand still. */
  private mine = { at: 0, monotonic: 0 };
  /** Another worker has the move. */
  private readonly lost = new AbortController();
  /** Comes when the worker is to end, or has lost the move. */
  readonly signal: AbortSignal;

  constructor(
    private readonly tools: Pick<Tools, 'pd' | 'id' | 'isGone'>,
    readonly tenant: string,
    signal: AbortSignal,
    /** What this worker has seen of others. */
    private readonly claims: Claims,
    /** Hears of each step that is done, and of each state before and after it is written. */
    readonly reached: Reached,
  ) {
    this.signal = AbortSignal.any([signal, this.lost.signal]);
  }

  get record(): MoveRecord {
    return this.stored.record;
  }

  get isLost(): boolean {
    return this.lost.signal.aborted;
  }

  /** Renews the claim. What the move has begun ends when the claim is lost. */
  renew(): Promise<void> {
    return this.change({}).catch((error: unknown) => {
      if (error instanceof Lost) this.lost.abort();
    });
  }

  /** Reads the record, and takes the move unless another worker has it. */
  async claim(): Promise<boolean> {
    this.stored = await moveOf(this.tools.pd, this.tenant);
    const { worker } = this.record;
    const { id, isGone } = this.tools;
    const isTaken = worker && worker.id !== id && !isGone?.(worker.id);
    if (isTaken && !this.claims.isOver(this.stored)) return false;
    const asked = this.now();
    try {
      this.stored = await save(this.tools.pd, {
        record: { ...this.record, worker: this.own() },
        revision: this.stored.revision,
      });
      this.mine = asked;
      return true;
    } catch (error) {
      if (error instanceof Overtaken) return false;
      throw error;
    }
  }

  private now(): OwnRecord['mine'] {
    return { at: Date.now(), monotonic: performance.now() };
  }

  /** Is asked right before each batch that is written. @throws Lost when another worker has the move */
  async mustBeMine(): Promise<void> {
    const { at, monotonic } = this.now();
    const ageMs = Math.max(at - this.mine.at, monotonic - this.mine.monotonic);
    if (this.isLost) throw new Lost();
    if (ageMs > CLAIM_MS / 2) await this.change({});
  }

  private own(): NonNullable<MoveRecord['worker']> {
    return { id: this.tools.id, until: Date.now() + CLAIM_MS };
  }

  /**
   * Writes these fields, over whatever an operator has written meanwhile into others.
   * @param wanted the fields, or what makes them of the record that they are written over
   */
  change(wanted: Fields | ((record: MoveRecord) => Fields), pieces?: PieceMap): Promise<void> {
    const fieldsOf = typeof wanted === 'function' ? wanted : () => wanted;
    const turn = this.last.then(() => this.changeNow(fieldsOf, pieces));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async changeNow(fieldsOf: (record: MoveRecord) => Fields, pieces?: PieceMap): Promise<void> {
    const { state } = fieldsOf(this.record);
    if (state !== undefined) await this.reached(`before ${state}`);
    for (;;) {
      const whole = { ...this.record, worker: this.own(), ...fieldsOf(this.record) };
      const record = JSON.parse(JSON.stringify(whole)) as MoveRecord;
      const asked = this.now();
      try {
        this.stored = await save(this.tools.pd, { record, revision: this.stored.revision }, pieces);
        this.mine = asked;
        if (state !== undefined) await this.reached(`after ${state}`);
        return;
      } catch (error) {
        if (!(error instanceof Overtaken)) throw error;
        await this.look();
      }
    }
  }

  /** Writes fields, the next state among them. @throws Lost when the record is not in this state any more */
  enter(from: State, wanted: Fields | ((record: MoveRecord) => Fields)): Promise<void> {
    return this.change((record) => {
      if (record.state !== from) throw new Lost();
      return typeof wanted === 'function' ? wanted(record) : wanted;
    });
  }

  /** Reads the record again. @throws Lost when it is no longer this worker's */
  async look(): Promise<void> {
    const found = await findMove(this.tools.pd, this.tenant);
    // Its end, or another move since.
    if (found?.record.createdAt !== this.record.createdAt) throw new Lost();
    this.stored = found;
    if (this.record.worker?.id !== this.tools.id) throw new Lost();
  }

  /** Writes down what has gone wrong, and takes back a switch that was asked for. */
  async note(error: unknown, { isTriedAgain }: Pick<Fields, 'isTriedAgain'> = {}): Promise<void> {
    const problem = error instanceof CommandError ? `${error.message}; ${error.hint}` : String(error);
    await this.change((record) => ({ problem, isTriedAgain, wish: withoutSwitch(record) })).catch(
      () => undefined,
    );
  }

  /** Removes the record. False when it was overtaken by another change, and is still there. */
  async forget(): Promise<boolean> {
    const { pd } = this.tools;
    try {
      await forget(pd, this.stored);
      return true;
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
      // It was sent again after it had been done, without an answer.
      const found = await findMove(pd, this.tenant);
      return found?.record.createdAt !== this.record.createdAt;
    }
  }
}
