/** Puts upstream's cases to the filter and keeps what does not agree. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { Status, type Filter, type Rewritten } from '../unit/filter.ts';
import { canonical, explain, inBatch, type Batch, type Messages } from './messages.ts';
import type { Case } from './upstream.ts';

/** One in so many messages travels in a batch, as most do between TiDB and TiKV. */
const BATCHED_ONE_IN = 4;
const SHOWN = 12;

/** What a run came to. */
export class Report {
  /** Cases by command and direction. */
  readonly counts = new Map<string, number>();
  /** How often each listed difference came up, and was exactly as listed. */
  readonly differences = new Map<string, number>();
  batched = 0;
  private readonly problems: { where: string; text: string; case: Case }[] = [];

  count(command: string, way: Case['way']): number {
    return this.counts.get(`${command} ${way}`) ?? 0;
  }

  get failures(): number {
    return this.problems.length;
  }

  /** The commands and directions with problems. */
  get failed(): Set<string> {
    return new Set(this.problems.map((problem) => problem.where));
  }

  /** Notes a case; `problem` is empty when it agrees. */
  add(c: Case, problem: string): void {
    const where = `${c.command} ${c.way}`;
    this.counts.set(where, (this.counts.get(where) ?? 0) + 1);
    if (problem !== '') this.problems.push({ where, text: problem, case: c });
    else for (const id of c.differences) this.differences.set(id, (this.differences.get(id) ?? 0) + 1);
  }

  /** @throws Error that says what does not agree, how to make it again, and where the first case is kept. */
  throwOnProblems(again: string): void {
    const [first] = this.problems;
    if (!first) return;
    const folder = join(ROOT, 'build', 'oracle');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${first.case.command}-${first.case.way}-${first.case.number}.json`);
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
    const kept = {
      ...first.case,
      given: hex(first.case.given),
      wanted: hex(first.case.wanted),
      problem: first.text,
    };
    writeFileSync(file, `${JSON.stringify(kept, undefined, 2)}\n`);

    // One of each command first: they tell more than many of the same.
    const shown = new Map<string, string>();
    for (const problem of this.problems)
      if (!shown.has(problem.where))
        shown.set(
          problem.where,
          `${problem.where} ${problem.case.number} [${problem.case.differences.join(' ')}] ${problem.text}`,
        );
    throw new Error(
      [
        `${this.problems.length} cases of ${shown.size} messages do not agree with upstream.`,
        ...[...shown.values()].slice(0, SHOWN),
        `again: ${again}`,
        `the first one: ${file}`,
      ].join('\n'),
    );
  }
}

/** Holds the filter against cases, one filter and key space for all of them. */
export class Referee {
  readonly report = new Report();
  private readonly filter: Filter;
  private readonly messages: Messages;
  private asked = 0;

  constructor(filter: Filter, messages: Messages) {
    this.filter = filter;
    this.messages = messages;
  }

  judge(c: Case): void {
    this.report.add(c, this.problem(c));
  }

  private problem(c: Case): string {
    const method = this.messages.method(c.path);
    if (c.outcome === 'no method')
      return method.decision === 'REFUSE' || method.decision === 'SYSTEM'
        ? ''
        : `the method is ${method.decision}`;
    if (c.outcome === 'unread') return method.decision === 'PASS' ? '' : `the method is ${method.decision}`;
    const name = c.way === 'request' ? method.request : method.response;
    if (method.decision !== 'MAP' || name === undefined) return `the method is ${method.decision}`;

    this.asked++;
    this.filter.newStream();
    const batch = this.asked % BATCHED_ONE_IN === 0 ? this.messages.batch(name, c.way) : undefined;
    if (batch) return this.batched(c, batch);
    const got = this.filter.message(this.messages.id(name), c.given, c.way);
    if (c.outcome === 'refused') return got.status === Status.OK ? 'goes on and should be refused' : '';
    if (got.status !== Status.OK) return this.refusal(got);
    return this.difference(name, got.bytes, c.wanted);
  }

  private batched(c: Case, batch: Batch): string {
    this.report.batched++;
    const id = this.asked & 0xffff;
    const got = this.filter.message(this.messages.id(batch.name), inBatch(batch, c.given, id), c.way);
    if (got.status !== Status.OK) return c.outcome === 'refused' ? '' : this.refusal(got);
    if (c.outcome !== 'refused') return this.difference(batch.name, got.bytes, inBatch(batch, c.wanted, id));
    const empty = this.messages.desc(batch.name + '.Request').fields.find((f) => f.number === EMPTY_REQUEST);
    if (!empty?.message) return 'a batch has no empty request';
    const wanted = inBatch({ ...batch, field: EMPTY_REQUEST }, new Uint8Array(0), id);
    return this.difference(batch.name, got.bytes, wanted);
  }

  private difference(name: string, ours: Uint8Array, wanted: Uint8Array): string {
    if (Buffer.compare(ours, wanted) === 0) return '';
    const desc = this.messages.desc(name);
    try {
      if (Buffer.compare(canonical(desc, ours), canonical(desc, wanted)) === 0) return '';
    } catch {
      // Not a message at all: `explain` says which side.
    }
    return explain(this.messages.registry, desc, ours, wanted);
  }

  private refusal(got: Rewritten): string {
    return `is refused: ${Status[got.status] ?? got.status} at ${this.messages.name(got.failedMessage)} ${got.failedField}`;
  }
}

/** BatchCommandsRequest.Request.Empty: what goes on in the place of a refused request. */
const EMPTY_REQUEST = 255;
