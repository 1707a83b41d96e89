/** What the filter must do with keys in PD's etcd, told in terms of texts (latin1) rather than of bytes. */

/** Who asks: the tenant's name; tenant 0 keeps its names. */
export interface Owner {
  name: string;
  isAdopted: boolean;
}

/** [key, end): an empty end is one key, `\0` an open one. */
export interface NameRange {
  key: string;
  end: string;
}

const FOLDER = '/tidb/server/minstartts/';
const SAVED = '/tidb/store/gcworker/saved_safe_point';
/** What is not tenant 0's: from, and the first key behind. */
const RESERVED = [
  ['/pd', '/pd0'],
  ['/tidb-mesh/', '/tidb-mesh0'],
] as const;

const successor = (text: string): string =>
  text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1);

export function isReservedName(key: string): boolean {
  return /^\/pd($|\/)/.test(key) || key.startsWith('/tidb-mesh/') || (isReadSince(key) && key.includes(':'));
}

/** True for the keys under which TiDBs say since when they read. */
export function isReadSince(key: string): boolean {
  return key.startsWith(FOLDER);
}

/** True when both ends of the range lie at the folder or inside it. */
function isInFolder({ key, end }: NameRange): boolean {
  const bare = FOLDER.slice(0, -1);
  const begins = isReadSince(key) || (key >= bare && key <= FOLDER);
  return begins && end > FOLDER && end <= successor(bare);
}

/** Undefined: refused. */
export function storedName(owner: Owner, key: string): string | undefined {
  if (owner.isAdopted) return isReservedName(key) ? undefined : key;
  if (isReadSince(key)) return `${FOLDER}${owner.name}:${key.slice(FOLDER.length)}`;
  return `/tidb-mesh/${owner.name}:${key}`;
}

/** Undefined: another tenant's. */
export function clientName(owner: Owner, stored: string): string | undefined {
  // The GC of the store may be tenant 0's.
  if (owner.isAdopted) return isReservedName(stored) && !isReadSince(stored) ? undefined : stored;
  const own = `/tidb-mesh/${owner.name}:`;
  const since = `${FOLDER}${owner.name}:`;
  if (stored.startsWith(own)) return stored.slice(own.length);
  if (stored.startsWith(since)) return FOLDER + stored.slice(since.length);
  return stored === SAVED ? stored : undefined;
}

/** Undefined: refused. */
export function storedRange(owner: Owner, range: NameRange, reads: boolean): NameRange | undefined {
  const { key, end } = range;
  if (end === '') {
    const stored = reads && key === SAVED ? key : storedName(owner, key);
    return stored === undefined ? undefined : { key: stored, end };
  }
  if (owner.isAdopted) {
    if (isReservedName(key) && !(reads && isReadSince(key))) return undefined;
    const reaches = RESERVED.some(([from, behind]) => key < behind && (end === '\0' || end > from));
    const takesOthers = !reads && key < successor(FOLDER) && (end === '\0' || end > FOLDER);
    return reaches || takesOthers ? undefined : range;
  }
  if (isInFolder(range)) {
    const own = `${FOLDER}${owner.name}:`;
    return {
      key: isReadSince(key) ? own + key.slice(FOLDER.length) : own,
      end: isReadSince(end) ? own + end.slice(FOLDER.length) : successor(own),
    };
  }
  const prefix = `/tidb-mesh/${owner.name}:`;
  return { key: prefix + key, end: end === '\0' ? successor(prefix) : prefix + end };
}
