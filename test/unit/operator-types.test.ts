/** The examples for TiDB Operator, held against its own Go types, which a package has as TypeScript's. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const TYPES = '@kubernetes-models/tidb-operator';
const V1 = 'pingcap.com/v1alpha1';
const V2 = 'core.pingcap.com/v1alpha1';
/** What each folder has, and of which group. */
const FOLDERS = {
  'examples/v8.5': { group: V1, kinds: ['TidbCluster'] },
  'examples/v5.2.1': { group: V1, kinds: ['TidbCluster'] },
  'operator-v2/examples/operator-v2': { group: V2, kinds: ['Cluster', 'PDGroup', 'TiDBGroup', 'TiKVGroup'] },
} as const;

interface Resource {
  apiVersion: string;
  kind: string;
  spec?: { template?: { spec?: { overlay?: { pod?: { spec?: Record<string, unknown> } } } } };
}

/** The operator's resources of a folder of manifests. */
function resourcesIn(folder: keyof typeof FOLDERS): Resource[] {
  const path = join(ROOT, 'manifests', folder);
  return readdirSync(path)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => parseAllDocuments(readFileSync(join(path, name), 'utf8')))
    .map((document) => document.toJS() as Resource)
    .filter(({ apiVersion }) => apiVersion === FOLDERS[folder].group);
}

/** What TypeScript says of them, as literals of their types: then a field that a type has not is an error, too. */
function problemsOf(resources: readonly Resource[]): string[] {
  const name = join(ROOT, 'test/unit/operator-resources.ts');
  const source = resources
    .map((resource, at) => {
      const literal = JSON.stringify(withContainers(resource));
      const { apiVersion, kind } = resource;
      return `import type { I${kind} as Type${at} } from '${TYPES}/${apiVersion}/${kind}';\nexport const resource${at}: Type${at} = ${literal};\n`;
    })
    .join('');
  const options: ts.CompilerOptions = {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const host = ts.createCompilerHost(options);
  const files = { exists: host.fileExists, source: host.getSourceFile };
  host.fileExists = (file) => file === name || files.exists.call(host, file);
  host.getSourceFile = (file, ...rest) =>
    file === name
      ? ts.createSourceFile(file, source, options.target!, true)
      : files.source.call(host, file, ...rest);
  return ts
    .getPreEmitDiagnostics(ts.createProgram([name], options, host))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

/** An overlay names what it changes alone; the type is that of a whole pod, which must have containers. */
function withContainers(resource: Resource): Resource {
  const copy = structuredClone(resource);
  const pod = copy.spec?.template?.spec?.overlay?.pod?.spec;
  if (pod !== undefined) pod['containers'] ??= [];
  return copy;
}

test("the examples are of the operator's types", () => {
  const folders = Object.keys(FOLDERS) as (keyof typeof FOLDERS)[];
  const resources = folders.map(resourcesIn);
  for (const [at, folder] of folders.entries())
    expect(new Set(resources[at]!.map(({ kind }) => kind))).toEqual(new Set(FOLDERS[folder].kinds));
  expect(problemsOf(resources.flat())).toEqual([]);
});

test('a field that a type has not, and one of another type, are found', () => {
  const [cluster] = resourcesIn('examples/v8.5');
  const group = resourcesIn('operator-v2/examples/operator-v2').find(({ kind }) => kind === 'TiDBGroup');
  const spoilt = (resource: Resource, from: RegExp, to: string): Resource =>
    JSON.parse(JSON.stringify(resource).replace(from, to)) as Resource;
  const problems = problemsOf([
    spoilt(cluster!, /"replicas":\d+/, '"replicas":"two"'),
    spoilt(group!, /"serviceAccountName"/, '"serviceAccount_Name"'),
  ]);
  expect(problems.join('\n')).toMatch(/'string' is not assignable to type 'number'/);
  expect(problems.join('\n')).toMatch(/serviceAccount_Name/);
});
