/** What was tried and how it was answered. */
import Table from 'cli-table3';

export type Verdict = 'ok' | 'refused' | 'failed' | 'open';

export interface Judged {
  readonly verdict: Verdict;
  /** The filter's code, or the store's status. */
  readonly code: string;
}

const VERDICTS: readonly Verdict[] = ['ok', 'refused', 'failed', 'open'];

export class Tally {
  private readonly rows = new Map<string, Map<Verdict, number>>();
  private readonly codes = new Map<string, number>();
  private readonly methods = new Set<string>();
  forgeries = 0;

  /** @param group what the rows of the table are, such as a role */
  add(group: string, method: string, { verdict, code }: Judged): void {
    this.forgeries++;
    this.methods.add(method);
    const row = this.rows.get(group) ?? new Map<Verdict, number>();
    row.set(verdict, (row.get(verdict) ?? 0) + 1);
    this.rows.set(group, row);
    if (verdict === 'refused' || verdict === 'failed') {
      const name = `${verdict} ${code}`;
      this.codes.set(name, (this.codes.get(name) ?? 0) + 1);
    }
  }

  get methodCount(): number {
    return this.methods.size;
  }

  /** How many were answered this way. */
  count(verdict: Verdict): number {
    return [...this.rows.values()].reduce((sum, row) => sum + (row.get(verdict) ?? 0), 0);
  }

  text(title: string): string {
    const table = new Table({
      head: ['forged', 'ok', 'refused by the filter', 'failed by the store', 'left open'],
      style: { head: [], border: [], compact: true },
    });
    for (const [group, row] of [...this.rows].sort(([a], [b]) => (a < b ? -1 : 1)))
      table.push([group, ...VERDICTS.map((verdict) => row.get(verdict) ?? 0)]);
    const codes = [...this.codes].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name} ${count}`);
    return [
      `${title}: ${this.methods.size} methods and endpoints, ${this.forgeries} forgeries`,
      table.toString(),
      codes.join(', '),
    ].join('\n');
  }
}
