/** A real Prometheus that scrapes and judges every second, and promtool. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installPrometheus } from '../stack/builds.ts';
import { freePorts } from '../stack/ports.ts';
import { waitHealthy, type Run } from '../stack/processes.ts';

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus {
  readonly url: string;
  /** The series that a query gives now. Throws Prometheus' own words where it is wrong. */
  query(expr: string): Promise<Series[]>;
  /** The points of each series in the last `seconds`, one a second: [seconds since 1970, value]. */
  range(expr: string, seconds: number): Promise<{ metric: Series['metric']; points: [number, number][] }[]>;
  /** Alerts that fire now, by name, with their labels. */
  firing(): Promise<{ name: string; labels: Record<string, string> }[]>;
}

interface Answer<Data> {
  readonly status: 'success' | 'error';
  readonly error?: string;
  readonly data: Data;
}

/**
 * @param targets `host:port` of Envoys' admin listeners, by the name of their job
 * @param rules a rule file
 */
export async function startPrometheus(
  run: Run,
  targets: Readonly<Record<string, string>>,
  rules: string,
): Promise<Prometheus> {
  const folder = await installPrometheus();
  const [port = 0] = await freePorts(1);
  const [config, ruleFile] = [join(run.data, 'prometheus.json'), join(run.data, 'rules.yaml')];
  await writeFile(ruleFile, rules);
  // JSON is YAML, too.
  await writeFile(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: [ruleFile],
      scrape_configs: Object.entries(targets).map(([job, target]) => ({
        job_name: job,
        metrics_path: '/stats/prometheus',
        static_configs: [{ targets: [target] }],
      })),
    }),
  );
  const server = await run.spawn({
    name: 'prometheus',
    command: join(folder, 'prometheus'),
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(run.data, 'prometheus')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
  });
  const url = `http://127.0.0.1:${port}`;
  await waitHealthy(server, 'readiness', 30_000, async () =>
    (await fetch(`${url}/-/ready`)).ok ? true : undefined,
  );
  const ask = async <Data>(path: string): Promise<Data> => {
    const response = await fetch(`${url}/api/v1/${path}`, { signal: AbortSignal.timeout(10_000) });
    const answer = (await response.json()) as Answer<Data>;
    if (answer.status !== 'success') throw new Error(`Prometheus: ${answer.error}: ${path}`);
    return answer.data;
  };
  return {
    url,
    async query(expr) {
      const { result } = await ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
        `query?query=${encodeURIComponent(expr)}`,
      );
      return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    async range(expr, seconds) {
      const now = Date.now() / 1000;
      const asked = new URLSearchParams({
        query: expr,
        start: String(now - seconds),
        end: String(now),
        step: '1',
      });
      const { result } = await ask<{
        result: { metric: Record<string, string>; values: [number, string][] }[];
      }>(`query_range?${asked.toString()}`);
      return result.map(({ metric, values }) => ({
        metric,
        points: values.map(([at, value]) => [at, Number(value)]),
      }));
    },
    async firing() {
      const { alerts } = await ask<{ alerts: { labels: Record<string, string>; state: string }[] }>('alerts');
      return alerts
        .filter(({ state }) => state === 'firing')
        .map(({ labels }) => ({ name: labels['alertname'] ?? '', labels }));
    },
  };
}

/** Runs promtool. Gives what it says; throws with it where promtool finds something. */
export async function promtool(...args: readonly string[]): Promise<string> {
  const folder = await installPrometheus();
  try {
    const { stdout, stderr } = await promisify(execFile)(join(folder, 'promtool'), [...args]);
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stdout ?? ''}${stderr ?? ''}`, { cause: error });
  }
}
