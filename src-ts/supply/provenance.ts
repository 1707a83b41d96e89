/**
 * Where a package's files come from: an in-toto statement with SLSA's predicate. Nobody has signed it. It says what was built from what;
 * whoever wants proof builds the commit again (`npm run reproducible`) and compares the sums.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ROOT } from '../wasm/builds.ts';
import { VERSION } from '../version.ts';
import { sha256Of, type Sum } from './checksums.ts';
import { LOCK } from './lock.ts';

const PACKAGE = `pkg:npm/tidb-mesh@${VERSION}`;

interface Source {
  readonly commit: string;
  /** True when files differ from the commit. */
  readonly isChanged: boolean;
}

/** Undefined outside of a git repository. */
function sourceOf(): Source | undefined {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return { commit: git('rev-parse', 'HEAD'), isChanged: git('status', '--porcelain') !== '' };
  } catch {
    return undefined;
  }
}

/** @see https://slsa.dev/spec/v1.0/provenance */
export function provenance(subject: readonly Sum[]): object {
  const source = sourceOf();
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: subject.map(({ path, sha256 }) => ({ name: path, digest: { sha256 } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:tidb-mesh:npm-pack:1',
        externalParameters: { command: 'npm pack', version: VERSION },
        internalParameters: { node: process.version, isChanged: source?.isChanged ?? true },
        resolvedDependencies: [
          ...(source ? [{ uri: PACKAGE, digest: { gitCommit: source.commit } }] : []),
          { uri: 'package-lock.json', digest: { sha256: sha256Of(readFileSync(LOCK)) } },
        ],
      },
      runDetails: { builder: { id: 'urn:tidb-mesh:unsigned' } },
    },
  };
}
