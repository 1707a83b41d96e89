/** Projects by what they need: unit nothing, package npm's registry, oracle Go, envoy an Envoy, e2e and others real servers. */
const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
};

const project = (name, timeoutMs) => ({
  ...common,
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  setupFilesAfterEnv: [`<rootDir>/test/harness/run/timeout-${timeoutMs / 1000}.mjs`],
});

export default {
  projects: [
    project('unit', 600_000),
    project('package', 120_000),
    project('oracle', 600_000),
    project('envoy', 120_000),
    project('hostile', 600_000),
    project('e2e', 600_000),
    project('shared', 600_000),
    project('gc', 600_000),
    project('move', 600_000),
    project('proofs', 600_000),
    project('ha', 600_000),
    project('faults', 600_000),
    project('mesh', 600_000),
    project('versions', 600_000),
    project('clients', 600_000),
  ],
};
