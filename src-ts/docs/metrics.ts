/** docs/metrics.md: every metric that the filter keeps. */
import { METRICS, type MetricRow } from '../observability/metrics.ts';

function section({ name, type, labels, means, remedy }: MetricRow): string {
  const labelled =
    labels === undefined
      ? ''
      : `, label${labels.length > 1 ? 's' : ''} ${labels.map((label) => `\`${label}\``).join(', ')}`;
  return [`### ${name}`, '', `A ${type}${labelled}. ${means}`, '', `**What to do.** ${remedy}`, ''].join(
    '\n',
  );
}

export function metricsReference(): string {
  return METRICS.map(section).join('\n');
}
