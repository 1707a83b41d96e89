import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import tseslint from 'typescript-eslint';

/** assembly/ folders from the lowest up; each may import only from those before it (DESIGN: dependencies point one way). */
const LAYERS = {
  memory: [],
  wire: ['memory'],
  schema: ['wire'],
  texts: ['memory', 'wire', 'schema'],
  keys: ['memory', 'wire', 'schema/bits'],
  rows: ['memory', 'wire'],
  terms: ['memory', 'wire', 'schema', 'keys'],
  rewrite: ['memory', 'wire', 'schema', 'texts', 'keys', 'rows', 'terms'],
  policy: ['wire', 'schema', 'texts', 'host/abi'],
  'pd-http': ['memory', 'wire', 'schema', 'texts', 'keys', 'policy'],
  tenant: ['memory', 'wire', 'schema', 'texts', 'keys', 'terms', 'policy'],
  host: ['memory', 'wire'],
};

const ALL = [...Object.keys(LAYERS), 'streams', 'entries'];

for (const [name, allowed] of Object.entries(LAYERS))
  for (const path of allowed.filter((one) => one !== 'host/abi'))
    if (ALL.indexOf(path) >= ALL.indexOf(name))
      throw new Error(`${name} may not import from ${path}: it is no lower layer`);

/** Forbids imports from every folder that the layer may not know. */
const layer = ([name, allowed]) => {
  const forbidden = ALL.filter((other) => other !== name && !allowed.includes(other));
  const group = forbidden.flatMap((other) => {
    const only = allowed.filter((path) => path.startsWith(`${other}/`)).map((path) => `!../${path}`);
    return [`../${other}/*`, ...only];
  });
  if (name !== 'host') group.push('@gcoredev/*');
  return {
    files: [`assembly/${name}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ group, message: `assembly/${name} must not depend on it.` }] },
      ],
    },
  };
};

const TRAPS = [
  { selector: 'ThrowStatement', message: 'A trap ends every stream of the worker: return a status.' },
  { selector: 'TSNonNullExpression', message: 'A trap ends every stream of the worker: test for null.' },
  { selector: "CallExpression[callee.name='assert']", message: 'A trap ends every stream of the worker.' },
];

/** The names of variables, not constants, that a module of assembly/ exports, its own and others'. */
function variablesOf(file) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const own = [...text.matchAll(/^export let (\w+)/gm)].map(([, name]) => name);
  const others = [...text.matchAll(/^export \{([^}]*)\} from '(.*)'/gm)].flatMap(([, names, from]) => {
    const theirs = variablesOf(moduleFile(file, from));
    return names
      .split(',')
      .map((name) => name.trim())
      .filter((name) => theirs.includes(name));
  });
  return [...own, ...others];
}

const moduleFile = (file, from) => `${resolve(dirname(file), from)}.ts`;

/** Requires that variables of another module are read through its name: see docs/architecture.md, Result variables. */
const variablesByModule = {
  create: (context) => ({
    ImportDeclaration(node) {
      const named = node.specifiers.filter(({ type }) => type === 'ImportSpecifier');
      if (named.length === 0 || !node.source.value.startsWith('.')) return;
      const variables = variablesOf(moduleFile(context.filename, node.source.value));
      for (const { imported } of named)
        if (variables.includes(imported.name))
          context.report({
            node,
            message: `Read the variable ${imported.name} through its module: import * as.`,
          });
    },
  }),
};

export default tseslint.config(
  {
    ignores: [
      'build/',
      'lib/',
      'node_modules/',
      'assembly/schema/table.ts',
      'assembly/host/random.ts',
      'src-ts/pd/generated/',
    ],
  },
  {
    files: ['{src-ts,demo,bench,fuzz,test}/**/*.ts'],
    ignores: ['bench/assembly/**'],
    extends: [...tseslint.configs.strict],
    rules: {
      eqeqeq: 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
    },
  },
  {
    // A test that meets null should fail there and then.
    files: ['{demo,bench,fuzz,test}/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    // AssemblyScript is not type-checked as TypeScript: the rules here need the syntax tree only.
    files: ['assembly/**/*.ts', 'bench/assembly/**/*.ts'],
    languageOptions: { parser: tseslint.parser },
    plugins: { mesh: { rules: { 'variables-by-module': variablesByModule } } },
    rules: {
      'mesh/variables-by-module': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-restricted-syntax': ['error', ...TRAPS],
    },
  },
  ...Object.entries(LAYERS).map(layer),
  {
    files: ['assembly/rewrite/**/*.ts', 'assembly/entries/**/*.ts'],
    ignores: ['assembly/rewrite/fast-path/*'],
    rules: {
      'no-restricted-syntax': [
        'error',
        ...TRAPS,
        {
          selector: 'ImportDeclaration[source.value=/fast-path\\u002F(?!fast-path$)/]',
          message: 'The fast path can be left out: use fast-path/fast-path.',
        },
      ],
    },
  },
);
