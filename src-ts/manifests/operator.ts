/** What TiDB Operator's major versions make of pods, and who their workloads are. docs/kubernetes.md names the source of each fact. */

/** `v1`: TidbClusters (1.2 to 1.6). `v2`: Cluster, PDGroup, TiKVGroup and TiDBGroup, all in one namespace. */
export const OPERATORS = ['v1', 'v2'] as const;
export type Operator = (typeof OPERATORS)[number];

export function isOperator(value: unknown): value is Operator {
  return (OPERATORS as readonly unknown[]).includes(value);
}

/** Labels of the pods of a cluster's component. */
export function podLabels(operator: Operator, cluster: string, component: string): Record<string, string> {
  if (operator === 'v2')
    return {
      'pingcap.com/managed-by': 'tidb-operator',
      'pingcap.com/cluster': cluster,
      'pingcap.com/component': component,
    };
  return {
    'app.kubernetes.io/name': 'tidb-cluster',
    'app.kubernetes.io/managed-by': 'tidb-operator',
    'app.kubernetes.io/instance': cluster,
    'app.kubernetes.io/component': component,
  };
}

/** The label that all pods of a cluster have. */
export function clusterLabel(operator: Operator, cluster: string): Record<string, string> {
  return { [operator === 'v2' ? 'pingcap.com/cluster' : 'app.kubernetes.io/instance']: cluster };
}

/** Patterns of principals, without `spiffe://`: the storage layer's own workloads, and tenants by name. */
export interface Principals {
  readonly system: string;
  readonly tenant: string;
}

/** With v2 the tenants run in the storage layer's namespace, so the service account is the tenant. */
export function principals(
  operator: Operator,
  trustDomain: string,
  namespace: string,
  cluster: string,
): Principals {
  const account = (ns: string, name: string): string => `${trustDomain}/ns/${ns}/sa/${name}`;
  return operator === 'v2'
    ? { system: account(namespace, cluster), tenant: account(namespace, '{tenant}') }
    : { system: account(namespace, '*'), tenant: account('{tenant}', '*') };
}
