/** Makes the borders of the tenants' key spaces borders of regions: PD splits there and never merges across. */
import { setTimeout as sleep } from 'node:timers/promises';
import { memcomparable } from '../support/keys.ts';

const TIMEOUT = 60_000;
const SIGN_BIT = 0x8000;

/** First key of the tenant with this number in the table codec, and the first key behind it. */
function spaceOf(number: number): [Buffer, Buffer] {
  const border = (tag: number): Buffer => {
    const key = Buffer.alloc(9);
    key[0] = 0x74;
    key.writeUInt16BE(SIGN_BIT + tag, 1);
    return memcomparable(key);
  };
  return [border(number), border(number + 1)];
}

async function post(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answers ${response.status}: ${await response.text()}`);
}

/**
 * Sets one region label rule for each tenant, as an operator does past the filter, and waits until PD shows the borders.
 * @throws Error when PD has not split within a minute
 */
export async function setBorders(
  pdUrl: string,
  tenants: readonly { name: string; number: number }[],
): Promise<void> {
  const wanted = new Set<string>();
  for (const { name, number } of tenants) {
    const [start, end] = spaceOf(number).map((key) => key.toString('hex')) as [string, string];
    wanted.add(start.toUpperCase()).add(end.toUpperCase());
    await post(`${pdUrl}/pd/api/v1/config/region-label/rule`, {
      id: `tidb-mesh/${name}`,
      labels: [{ key: 'tidb-mesh-tenant', value: name }],
      rule_type: 'key-range',
      data: [{ start_key: start, end_key: end }],
    });
  }
  const deadline = Date.now() + TIMEOUT;
  for (;;) {
    const response = await fetch(`${pdUrl}/pd/api/v1/regions`);
    const { regions } = (await response.json()) as { regions: { start_key: string }[] };
    const starts = new Set(regions.map((region) => region.start_key.toUpperCase()));
    const missing = [...wanted].filter((border) => !starts.has(border));
    if (missing.length === 0) return;
    if (Date.now() > deadline) throw new Error(`PD has not split at ${missing.join(', ')} within a minute`);
    await sleep(200);
  }
}
