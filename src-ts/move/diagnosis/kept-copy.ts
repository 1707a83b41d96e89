/** The copy that a move leaves when the storage layer that serves the tenant is gone for good: what it has, and what it lacks. */
import { millisOf } from '../../pd/timestamp.ts';
import { placeText } from '../place.ts';
import type { MoveRecord } from '../record.ts';
import { summaryOf } from './show.ts';

/** What a record may say of a copy, whether it is complete or not. */
interface Progress {
  readonly copied?: unknown;
  readonly resolvedTs?: string;
  readonly equalAt?: string;
}

/** All that was committed up to here is at the copy: a timestamp of PD; 0 when that is not known. */
function copiedTo({ progress, history, committed }: MoveRecord): bigint {
  const { resolvedTs, equalAt } = (progress ?? {}) as Progress;
  return [resolvedTs, equalAt, history.at(-1)?.fence, committed?.fence]
    .map((one) => BigInt(one ?? 0))
    .reduce((a, b) => (a > b ? a : b));
}

/** What the copy has, in words. It is where the tenant is not served. */
export function keptText(record: MoveRecord): string {
  const { state, from, to, progress, history, switches, isGivenUp, otherIsGone } = record;
  // Where it was served before a switch that is decided.
  const copy = state === 'committing' ? from : to;
  const place = placeText(record, copy);
  if (progress === undefined && switches === 0 && history.length === 0)
    return `nothing is copied to ${place} yet`;
  const isAtRisk = isGivenUp === true || (state === 'cancelling' && otherIsGone !== true);
  const end = isAtRisk ? '. It was given up before, so it may be destroyed, wholly or in part' : '';
  const { copied } = (progress ?? {}) as Progress;
  if (copied !== undefined) {
    const { progress: share } = summaryOf({ ...record, state: 'copying', isPaused: false });
    return `${place} has a part of the keys, read at different times: ${share}. No TiDB can work with it${end}`;
  }
  const { readableSince } = copy;
  const upTo = copiedTo(record);
  // Before that time, each range is as it was when it was read.
  if (upTo === 0n || upTo < BigInt(readableSince ?? 0))
    return `${place} has a copy of all keys, of no single time: transactions may be there in part${end}`;
  const since = readableSince === undefined ? '' : `, and nothing before ${readableSince} (readableSince)`;
  return `${place} has all that was committed up to ${upTo}, ${new Date(millisOf(upTo)).toISOString()}${since}. What was committed later is lacking, or is there in part${end}`;
}
