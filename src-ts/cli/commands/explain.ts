/** `tidb-mesh explain`: shows who a caller is, which rule decides, and why it is refused. */
import { InvalidArgumentError, type Command } from 'commander';
import pc from 'picocolors';
import { addFact } from '../../config/facts.ts';
import { Judge, type Caller, type Facts, type Verdict } from '../../config/judge.ts';
import { policyOf } from '../../config/policy.ts';
import { configSources } from '../../config/sources.ts';
import type { PluginConfig } from '../../config/types.ts';
import { MeshFileError } from '../../manifests/mesh-file.ts';
import { readText } from '../files.ts';
import { EXIT, Refusal } from '../outcome.ts';

interface Options {
  config: string;
  principal: string;
  peer?: Facts;
  node?: Facts;
  json?: true;
}

function fact(text: string, facts?: Facts): Facts {
  try {
    return addFact(text, facts);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** The first configuration of the file. It must be valid. */
function configIn(file: string, judge: Judge): PluginConfig {
  try {
    const [source] = configSources(readText(file));
    if (source === undefined) throw new Refusal(`${file}: holds no pluginConfig`);
    const line = judge.configure(source.text);
    if (line !== '') throw new Refusal(`${file}: the filter refuses this configuration: ${line}`);
    return JSON.parse(source.text) as PluginConfig;
  } catch (error) {
    if (error instanceof MeshFileError) throw new Refusal(`${file}: ${error.message}`);
    throw error;
  }
}

const TRIALS = {
  policy: 'dry run: what policy refuses it is counted and logged, and goes on',
  all: 'dry run: what it would be refused by name is counted and logged, and goes on unread',
};

function show(config: PluginConfig, { access, tenant, refusal, rule }: Verdict): void {
  if (rule !== undefined && config.rules)
    console.log(`rules[${rule}] ${pc.dim(JSON.stringify(config.rules[rule]))}`);
  if (access === 'tenant') {
    const number = config.tenants.find(({ name }) => name === tenant)?.number;
    console.log(`${pc.green('tenant')} ${tenant ?? ''}, number ${number ?? '?'}`);
    const { refuse, trial } = policyOf(config, tenant ?? '');
    if (refuse.length > 0)
      console.log(`policy ${trial ? 'would refuse' : 'refuses'} it: ${refuse.join(', ')}`);
    if (trial) console.log(pc.yellow(TRIALS[trial]));
  } else if (access === 'system') console.log(`${pc.yellow('system')}: passes untouched and unread`);
  else console.log(`${pc.red('refused')}: ${refusal ?? ''}`);
}

async function run(options: Options): Promise<void> {
  const judge = await Judge.load();
  const config = configIn(options.config, judge);
  const { principal, peer, node } = options;
  const caller: Caller = { principal, ...(peer && { peer }), ...(node && { node }) };
  const verdict = judge.resolve(caller);
  if (options.json) {
    const policy = verdict.tenant === undefined ? {} : { policy: policyOf(config, verdict.tenant) };
    console.log(JSON.stringify({ ...caller, ...verdict, ...policy }));
  } else show(config, verdict);
  process.exitCode = verdict.access === 'refused' ? EXIT.refused : EXIT.ok;
}

export function register(program: Command): void {
  program
    .command('explain')
    .description('says which tenant a caller is, by which rule, or why it is refused')
    .requiredOption('--config <file>', 'a pluginConfig, a mesh file or a manifest, as for validate')
    .requiredOption(
      '--principal <uri>',
      "the SPIFFE URI of the caller's certificate; '' for a caller without one",
    )
    .option(
      '--peer <field=value>',
      'what the mesh knows of the caller: workload, namespace, cluster, app or labels.NAME; more than once for more',
      fact,
    )
    .option('--node <field=value>', 'the same of the workload beside which the filter runs', fact)
    .option('--json', 'the answer as JSON')
    .addHelpText(
      'after',
      `
Exit code: 0 a tenant or a system principal, 1 refused.

Example:
  npx tidb-mesh explain --config manifests/mesh.yaml --principal spiffe://cluster.local/ns/cluster1/sa/cluster1-tidb \\
    --peer labels.tidb-mesh.io/tenant=cluster1`,
    )
    .action(run);
}
