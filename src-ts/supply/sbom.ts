/** What the command is made of, as CycloneDX, told by npm itself. */
import { execFileSync } from 'node:child_process';
import { ROOT } from '../wasm/builds.ts';
import { lockedPackages } from './lock.ts';

interface Bom {
  metadata: { component: { 'bom-ref': string } };
  components: { 'bom-ref': string; name: string; version: string }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

/**
 * The text of the SBOM: what is installed with the command, without what builds and tests it. npm's own `--omit=dev` leaves out packages
 * that both need, so they are chosen here.
 */
export function sbom(): string {
  const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
  const bom = JSON.parse(
    execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 }),
  ) as Bom;
  const runtime = lockedPackages().filter(({ isRuntime }) => isRuntime);
  const refs = new Set(runtime.map(({ name, version }) => `${name}@${version}`));
  const components = bom.components.filter((component) => refs.has(component['bom-ref']));
  refs.add(bom.metadata.component['bom-ref']);
  const dependencies = bom.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => refs.has(one)) }));
  return `${JSON.stringify({ ...bom, components, dependencies }, null, 2)}\n`;
}
