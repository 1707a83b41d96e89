/** `tidb-mesh explain`: shows who a caller is, which rule decides, and why it is refused. */
import { InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { addFact } from '../../config/facts.ts';
import { Judge, type Caller, type Facts, type Verdict } from '../../config/judge.ts';
import { policyOf } from '../../config/policy.ts';
import type { PluginConfig } from '../../config/types.ts';
import { CommandError, EXIT } from '../../errors.ts';
import type { Definition } from '../definition.ts';
import { readConfig, withConfig } from '../files.ts';

interface Options {
  readonly config: string;
  readonly principal: string;
  readonly peer?: Facts;
  readonly node?: Facts;
}

const FACTS = 'workload, namespace, cluster, app or labels.NAME; repeat it for more';

export const explain: Definition<Options, []> = {
  name: 'explain',
  summary: 'show which tenant a caller is, by which rule, or why it is refused',
  about: "The answer is that of the filter's own code. Nothing is called.",
  examples: [
    'tidb-mesh explain --config mesh.yaml --principal spiffe://cluster.local/ns/cluster1/sa/cluster1-tidb',
    [
      `tidb-mesh explain --config mesh.yaml --principal spiffe://cluster.local/ns/cluster1/sa/cluster1-tidb \\
      --peer labels.tidb-mesh.io/tenant=cluster1`,
      'for rules that look at labels',
    ],
  ],
  exits: { [EXIT.ok]: 'a tenant or a system principal', [EXIT.failed]: 'the caller is refused' },
  define: (command) =>
    withConfig(command, 'the rules', true)
      .requiredOption(
        '--principal <uri>',
        "SPIFFE URI of the caller's certificate; '' for a caller without one",
      )
      .option('--peer <field=value>', `what the mesh knows of the caller: ${FACTS}`, fact)
      .option('--node <field=value>', 'the same of the workload beside which the filter runs', fact),
  run: async ({ options: { config: file, principal, peer, node }, tell }) => {
    const judge = await Judge.load(tell);
    const config = validConfig(file, judge);
    const caller: Caller = { principal, ...(peer && { peer }), ...(node && { node }) };
    const verdict = judge.resolve(caller);
    const policy = verdict.tenant === undefined ? {} : { policy: policyOf(config, verdict.tenant) };
    return {
      value: { ...caller, ...verdict, ...policy },
      text: linesOf(config, verdict).join('\n'),
      exit: verdict.access === 'refused' ? EXIT.failed : EXIT.ok,
    };
  },
};

function fact(text: string, facts?: Facts): Facts {
  try {
    return addFact(text, facts);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** The first configuration of the file. It must be valid. */
function validConfig(file: string, judge: Judge): PluginConfig {
  const { text } = readConfig(file);
  const line = judge.configure(text);
  if (line === '') return JSON.parse(text) as PluginConfig;
  const hint = `correct it; this shows the place: tidb-mesh validate ${file}`;
  throw new CommandError('INVALID', `${file}: ${line}`, hint);
}

const TRIALS = {
  policy: 'dry run: what policy refuses it is counted and logged, and goes on',
  all: 'dry run: what it would be refused by name is counted and logged, and goes on unread',
};

function linesOf(config: PluginConfig, { access, tenant, refusal, rule }: Verdict): string[] {
  const lines: string[] = [];
  if (rule !== undefined && config.rules)
    lines.push(`rules[${rule}] ${pc.dim(JSON.stringify(config.rules[rule]))}`);
  if (access === 'tenant') {
    const number = config.tenants.find(({ name }) => name === tenant)?.number;
    lines.push(`${pc.green('tenant')} ${tenant ?? ''}, number ${number ?? '?'}`);
    const { refuse, trial } = policyOf(config, tenant ?? '');
    if (refuse.length > 0)
      lines.push(`policy ${trial ? 'would refuse' : 'refuses'} it: ${refuse.join(', ')}`);
    if (trial) lines.push(pc.yellow(TRIALS[trial]));
  } else if (access === 'system') lines.push(`${pc.yellow('system')}: passes untouched and unread`);
  else lines.push(`${pc.red('refused')}: ${refusal ?? ''}`);
  return lines;
}
