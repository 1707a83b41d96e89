/**
 * Judges a history of transactions that append to lists and read them, by the rules of Elle (Kingsbury and Alvaro, 2020): a list tells in which
 * order its values were appended, so what each transaction saw tells which one it follows.
 */

export type Op =
  | { readonly append: number; readonly value: string }
  | { readonly read: number; readonly list: readonly string[] };

export interface Txn {
  readonly ops: readonly Op[];
  /** `unknown`: its client was not told. */
  readonly outcome: 'committed' | 'aborted' | 'unknown';
}

export interface Anomaly {
  readonly kind:
    | 'duplicate'
    | 'incompatible order'
    | 'unwritten'
    | 'internal'
    | 'G1a'
    | 'G1b'
    | 'lost append'
    | 'G0'
    | 'G1c'
    | 'G-single';
  readonly what: string;
}

interface Writer {
  readonly txn: number;
  /** Whether this transaction appends nothing to the same list after it. */
  readonly isLast: boolean;
}

type EdgeKind = 'ww' | 'wr' | 'rw';
type Edges = Map<number, Set<number>>;

const nameOf = (key: number, value: string): string => `${value} of list ${key}`;

/** The writer of each value; every value is appended once to one list. */
function writersOf(history: readonly Txn[]): Map<number, Map<string, Writer>> {
  const writers = new Map<number, Map<string, Writer>>();
  for (const [txn, { ops }] of history.entries())
    for (const [at, op] of ops.entries()) {
      if (!('append' in op)) continue;
      const isLast = !ops.slice(at + 1).some((later) => 'append' in later && later.append === op.append);
      if (!writers.has(op.append)) writers.set(op.append, new Map());
      writers.get(op.append)!.set(op.value, { txn, isLast });
    }
  return writers;
}

/** What a transaction must see of its own: what it read before, and behind it what it has appended. */
function internal(ops: readonly Op[]): string[] {
  const expected = new Map<number, readonly string[]>();
  const appended = new Map<number, string[]>();
  const found: string[] = [];
  for (const op of ops)
    if ('append' in op) {
      appended.set(op.append, [...(appended.get(op.append) ?? []), op.value]);
      const known = expected.get(op.append);
      if (known) expected.set(op.append, [...known, op.value]);
    } else {
      const known = expected.get(op.read);
      const own = appended.get(op.read) ?? [];
      const tail = op.list.slice(op.list.length - own.length);
      if (known ? known.join() !== op.list.join() : tail.join() !== own.join())
        found.push(`reads ${op.list.join(' ')} of list ${op.read}, not ${(known ?? own).join(' ')}`);
      expected.set(op.read, op.list);
    }
  return found;
}

/** The reads of a transaction that show what was there before it: before its own appends to that list. */
function outsideReads(ops: readonly Op[]): { read: number; list: readonly string[] }[] {
  const own = new Set<number>();
  const reads: { read: number; list: readonly string[] }[] = [];
  for (const op of ops)
    if ('append' in op) own.add(op.append);
    else if (!own.has(op.read)) reads.push(op);
  return reads;
}

/** The parts of a graph in which everything can be reached from everything (Tarjan), of more than one node. */
function cyclicParts(nodes: number, edges: readonly Edges[]): number[][] {
  const index = new Int32Array(nodes).fill(-1);
  const low = new Int32Array(nodes);
  const onStack = new Uint8Array(nodes);
  const stack: number[] = [];
  const parts: number[][] = [];
  let next = 0;
  const followers = (node: number): number[] => edges.flatMap((of) => [...(of.get(node) ?? [])]);
  for (let root = 0; root < nodes; root++) {
    if (index[root] !== -1) continue;
    const work: { node: number; rest: number[] }[] = [];
    const enter = (node: number): void => {
      index[node] = low[node] = next++;
      stack.push(node);
      onStack[node] = 1;
      work.push({ node, rest: followers(node) });
    };
    enter(root);
    while (work.length > 0) {
      const { node, rest } = work.at(-1)!;
      const to = rest.pop();
      if (to !== undefined) {
        if (index[to] === -1) enter(to);
        else if (onStack[to]) low[node] = Math.min(low[node]!, index[to]!);
        continue;
      }
      work.pop();
      const above = work.at(-1);
      if (above) low[above.node] = Math.min(low[above.node]!, low[node]!);
      if (low[node] !== index[node]) continue;
      const part: number[] = [];
      for (let member = -1; member !== node;) {
        member = stack.pop()!;
        onStack[member] = 0;
        part.push(member);
      }
      if (part.length > 1) parts.push(part);
    }
  }
  return parts;
}

function isReachable(from: number, to: number, edges: readonly Edges[]): boolean {
  const seen = new Set([from]);
  const queue = [from];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (node === to) return true;
    for (const of of edges)
      for (const next of of.get(node) ?? [])
        if (!seen.has(next)) {
          seen.add(next);
          queue.push(next);
        }
  }
  return false;
}

/**
 * Everything in a history that snapshot isolation forbids, and what no database may do.
 * @param final what the lists hold at the end; every committed append must be there
 */
export function judgeHistory(
  history: readonly Txn[],
  final: ReadonlyMap<number, readonly string[]> = new Map(),
): Anomaly[] {
  const found: Anomaly[] = [];
  const tell = (kind: Anomaly['kind'], what: string): void => void found.push({ kind, what });
  const writers = writersOf(history);
  const seen = history.map(({ ops, outcome }) => (outcome === 'committed' ? outsideReads(ops) : []));

  // The longest list that anybody saw is the order of its appends.
  const orders = new Map<number, readonly string[]>();
  const lists = [
    ...history.flatMap(({ ops, outcome }) =>
      outcome === 'committed' ? ops.flatMap((op) => ('read' in op ? [[op.read, op.list] as const] : [])) : [],
    ),
    ...final,
  ];
  for (const [key, list] of lists) if (list.length > (orders.get(key)?.length ?? -1)) orders.set(key, list);
  for (const [key, list] of lists) {
    if (new Set(list).size < list.length) tell('duplicate', `list ${key}: ${list.join(' ')}`);
    const order = orders.get(key) ?? [];
    if (list.some((value, at) => order[at] !== value))
      tell('incompatible order', `list ${key}: ${list.join(' ')} and ${order.join(' ')}`);
    for (const value of list) {
      const writer = writers.get(key)?.get(value);
      if (!writer) tell('unwritten', nameOf(key, value));
      else if (history[writer.txn]?.outcome === 'aborted') tell('G1a', nameOf(key, value));
    }
  }
  for (const [txn, { ops, outcome }] of history.entries()) {
    if (outcome !== 'committed') continue;
    for (const what of internal(ops)) tell('internal', `transaction ${txn} ${what}`);
    for (const { read, list } of seen[txn]!) {
      const last = list.at(-1);
      const writer = last === undefined ? undefined : writers.get(read)?.get(last);
      if (writer && writer.txn !== txn && !writer.isLast) tell('G1b', nameOf(read, last!));
    }
    for (const op of ops)
      if ('append' in op && final.has(op.append) && !final.get(op.append)!.includes(op.value))
        tell('lost append', nameOf(op.append, op.value));
  }

  const edges: Record<EdgeKind, Edges> = { ww: new Map(), wr: new Map(), rw: new Map() };
  const connect = (kind: EdgeKind, from: number | undefined, to: number | undefined): void => {
    if (from === undefined || to === undefined || from === to) return;
    if (!edges[kind].has(from)) edges[kind].set(from, new Set());
    edges[kind].get(from)!.add(to);
  };
  const writerOf = (key: number, value: string | undefined): number | undefined =>
    value === undefined ? undefined : writers.get(key)?.get(value)?.txn;
  for (const [key, order] of orders)
    for (let at = 1; at < order.length; at++)
      connect('ww', writerOf(key, order[at - 1]), writerOf(key, order[at]));
  for (const [txn, reads] of seen.entries())
    for (const { read, list } of reads) {
      connect('wr', writerOf(read, list.at(-1)), txn);
      connect('rw', txn, writerOf(read, orders.get(read)?.[list.length]));
    }
  const { ww, wr, rw } = edges;
  for (const part of cyclicParts(history.length, [ww])) tell('G0', `transactions ${part.join(' ')}`);
  for (const part of cyclicParts(history.length, [ww, wr]))
    if (cyclicParts(history.length, [ww]).length === 0) tell('G1c', `transactions ${part.join(' ')}`);
  const inCycle = new Map<number, number>();
  for (const [i, part] of cyclicParts(history.length, [ww, wr, rw]).entries())
    for (const txn of part) inCycle.set(txn, i);
  for (const [from, followers] of rw)
    for (const to of followers)
      if (inCycle.has(from) && inCycle.get(from) === inCycle.get(to) && isReachable(to, from, [ww, wr]))
        tell('G-single', `transaction ${from} did not see ${to}, and follows it`);
  return found;
}

/** Pairs of reads of one group of which neither has seen all that the other has (Jepsen's long fork). */
export function longForks(reads: readonly ReadonlySet<number>[]): string[] {
  const bySize = [...reads].sort((a, b) => a.size - b.size);
  const found: string[] = [];
  for (const [i, larger] of bySize.entries()) {
    const smaller = bySize[i - 1];
    if (smaller && ![...smaller].every((key) => larger.has(key)))
      found.push(`${[...smaller].join(' ')} beside ${[...larger].join(' ')}`);
  }
  return found;
}
