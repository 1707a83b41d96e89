/**
 * Takes a move through its states (record.ts), each of which has its step in this folder. Each step can be done again by another worker:
 * it reads the record, acts, and writes the next state by compare-and-swap.
 *
 * A switch, with what the filter does meanwhile (mesh.ts):
 *
 *   prepare   everything goes on
 *   calm      transactions commit in two phases only, so that "committed" is what the store says
 *   drain     new writes are held; what has begun may end
 *   fence     commits are held, too. The mover settles what is undecided, and nearly all is carried over
 *   final     everything is held. The filter knows no end of it, and the mover does: it takes the fence timestamp, carries over what was
 *             committed up to it, and gives the switch up where that lasts too long
 *   committed the record says where the tenant is served now; then the filters are told
 *
 * At the end, `over` tells that a configuration without the move is no older one.
 *
 * Between two storage layers, `final` has one more step: the source's filters hand the tenant over, so that no timestamp of its PD passes
 * any more. The latest one is read behind that, and no timestamp of the target's PD that is no later reaches the tenant. After `committed`
 * the target's filters are told first, and the source's send its calls there when those have obeyed (docs/decisions/0017).
 *
 * Before `committed`, any failure leads back to `calm`, and the tenant stays where it was. After a switch, done or not, it stays calm
 * for a while: a transaction whose first prewrites came before must not end by an asynchronous commit.
 *
 * While a move follows, the target is watched. A commit there that is none of the mover's is one that the serving side lacks: it is written
 * into the record as an alarm, and every filter holds the tenant (`final`) until an operator has accepted it. While a cluster outside of
 * the mesh serves the tenant, nobody can hold it.
 */
import { Claims } from '../claims.ts';
import type { Engine } from '../engine/engine.ts';
import { isLeftClosed } from '../record.ts';
import { Agreement } from './agreement.ts';
import { Commit } from './commit.ts';
import { Copy } from './copy.ts';
import { EndWish } from './end-wish.ts';
import { End } from './end.ts';
import { MoveFilters } from './filters.ts';
import { Follow } from './follow.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { Lost, OwnRecord } from './own-record.ts';
import { Plan } from './plan.ts';
import { Switching } from './switching.ts';
import type { Tools, WithEngine } from './tools.ts';

/** How often a worker's claim is renewed. */
const RENEW_MS = 1000;

/** Drives one move as long as it is this worker's. */
export class Move {
  private readonly own: OwnRecord;
  private readonly filters: MoveFilters;
  private readonly agreement: Agreement;
  private readonly endWish: EndWish;
  private readonly switching: Switching;
  private readonly plan: Plan;
  private readonly copy: Copy;
  private readonly follow: Follow;
  private readonly commit: Commit;
  private readonly end: End;

  constructor(
    private readonly tools: Tools,
    tenant: string,
    signal: AbortSignal,
    /** What this worker has seen of others. */
    claims = new Claims(),
  ) {
    const limits = { ...DEFAULT_LIMITS, ...tools.limits };
    const withEngine: WithEngine = (work) => this.withEngine(work);
    const own = new OwnRecord(tools, tenant, signal, claims, (step) => this.reached(step));
    const filters = new MoveFilters(own, tools, limits);
    const agreement = new Agreement(own, filters, tools);
    const endWish = new EndWish(own, withEngine);
    const switching = new Switching(own, filters, tools);
    this.own = own;
    this.filters = filters;
    this.agreement = agreement;
    this.endWish = endWish;
    this.switching = switching;
    this.plan = new Plan(own, agreement, withEngine, tools, limits);
    this.copy = new Copy(own, endWish, tools);
    this.follow = new Follow(own, filters, agreement, endWish, switching, tools, limits);
    this.commit = new Commit(own, filters, tools, limits);
    this.end = new End(own, filters, agreement, endWish, tools, limits);
  }

  /**
   * Works until the move has ended, is another worker's, or the signal comes.
   * @returns true when the move has ended
   */
  async run(): Promise<boolean> {
    const { own } = this;
    if (!(await own.claim())) return false;
    for (const filters of this.filters.known) filters.recall?.(own.record.envoys ?? []);
    // However long a step takes, the claim holds.
    const beat = setInterval(() => void own.renew(), RENEW_MS);
    try {
      while (!own.signal.aborted) if (await this.step()) return true;
    } catch (error) {
      if (error instanceof Lost || own.isLost) return false;
      if (!own.signal.aborted) await own.note(error, { isTriedAgain: true });
      throw error;
    } finally {
      clearInterval(beat);
    }
    if (own.isLost) return false;
    await own.change({ worker: undefined });
    return false;
  }

  private async reached(step: string): Promise<void> {
    await this.tools.reached?.(step);
  }

  /** One state. True at the end of the move. */
  private async step(): Promise<boolean> {
    const { state, wish, otherIsGone } = this.own.record;
    if (state === 'planned' && wish === 'cancel' && !otherIsGone && (await this.agreement.contradiction()))
      return this.end.leave();
    // Whatever stands in the way of going on must not stand in the way of giving up.
    const mayEnd =
      state === 'planned' ||
      state === 'copying' ||
      (state === 'following' && (!this.endWish.watchesFirst() || this.own.record.isWithoutCluster === true));
    if (mayEnd && (await this.endWish.isToEnd())) return false;
    switch (state) {
      case 'planned':
        return this.plan.run();
      case 'copying':
        return this.withEngine((engine) => this.copy.run(engine));
      case 'following':
        return this.withEngine((engine) => this.follow.run(engine));
      case 'switching':
        // The worker that began has died. Nothing was told to serve the target.
        return this.switching.goBack('the worker of the switch has died');
      case 'committing':
        if (isLeftClosed(this.own.record)) return this.endWish.leaveCopy();
        return this.withEngine((engine) => this.commit.run(engine));
      case 'completing':
      case 'cancelling':
        return this.withEngine((engine) => this.end.run(engine));
    }
  }

  private async withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = this.tools.engineOf(this.own.record, () => this.own.mustBeMine());
    try {
      return await work(engine);
    } finally {
      engine.close();
    }
  }
}
