/** Which versions TiDB Mesh was run with or checked against, from schema/versions.json alone. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const VERSIONS_FILE = fileURLToPath(new URL('../../schema/versions.json', import.meta.url));

/** What a version's protocols have otherwise than proto/. */
export interface Unknown {
  /** Paths of methods without a decision: they are refused. */
  readonly methods: readonly string[];
  /** `package.Message.field` of requests: a request that has it is refused. */
  readonly requests: readonly string[];
  /** `package.Message.field` that only answers have: it is removed from them. */
  readonly answers: readonly string[];
  /** What has another name, type or number, in words. */
  readonly changed: readonly string[];
}

/** A version of TiDB whose protocols were held against proto/. */
export interface CheckedVersion {
  /** `major.minor` of TiDB, PD and TiKV, or `newest`. */
  readonly version: string;
  /** Versions of Go modules. */
  readonly kvproto: string;
  readonly tipb: string;
  /** What says that this version of TiDB has these. */
  readonly source: string;
  readonly unknown: Unknown;
}

/** One run of the tests of `npm run test:versions`, or of `npm test`. */
export interface Run {
  readonly program: 'TiDB' | 'PD';
  /** As the program says it, such as `7.5.0`. */
  readonly version: string;
  /** Its Go module's version. */
  readonly module: string;
  /** The commit of TiDB Mesh, or `every commit`. */
  readonly commit: string;
  /** `YYYY-MM-DD` */
  readonly date: string;
  /** Undefined: `versions`, the statements of two TiDBs. */
  readonly suite?: 'clients';
  readonly passed: number;
  /** Titles of the tests that failed. */
  readonly failed: readonly string[];
}

export interface Versions {
  readonly checked: readonly CheckedVersion[];
  readonly runs: readonly Run[];
}

export function readVersions(): Versions {
  return JSON.parse(readFileSync(VERSIONS_FILE, 'utf8')) as Versions;
}

export type Known = 'run' | 'checked' | 'unknown';

export interface Verdict {
  readonly known: Known;
  /** The version in schema/versions.json that it is judged by; undefined where there is none. */
  readonly by: string | undefined;
}

/**
 * Judges a version that a server says of itself, such as `8.0.11-TiDB-v7.5.0` or `v8.5.6-alpha`. The newest version of the same minor
 * release that is not newer than it decides. Stores are TiKV, which is only checked: the tests have a store of their own.
 */
export function judgeVersion(
  program: 'TiDB' | 'PD' | 'TiKV',
  said: string,
  { checked, runs }: Versions,
): Verdict {
  const wanted = numbersOf(said);
  if (wanted === undefined) return { known: 'unknown', by: undefined };
  const nearest = (versions: readonly string[]): string | undefined => {
    let best: { name: string; patch: number } | undefined;
    for (const name of versions) {
      const numbers = numbersOf(name);
      if (numbers === undefined || !isWithin(numbers, wanted)) continue;
      if (best === undefined || numbers[2] > best.patch) best = { name, patch: numbers[2] };
    }
    return best?.name;
  };
  const run = nearest(
    runs.filter((each) => each.program === program && each.failed.length === 0).map(({ version }) => version),
  );
  if (run !== undefined) return { known: 'run', by: run };
  const by = nearest(checked.map(({ version }) => version));
  return { known: by === undefined ? 'unknown' : 'checked', by };
}

type Numbers = readonly [major: number, minor: number, patch: number];

/** A TiDB says MySQL's version first. */
function numbersOf(text: string): Numbers | undefined {
  const own = text.replace(/^.*-TiDB-/, '');
  const [, major, minor, patch = '0'] = /^v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(own) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor), Number(patch)];
}

function isWithin(known: Numbers, wanted: Numbers): boolean {
  return known[0] === wanted[0] && known[1] === wanted[1] && known[2] <= wanted[2];
}
