/** Installs a stream's tenant in the rewriter. */
import { randomLease } from '../host/host';
import { useNamespace } from '../keys/namespace';
import { useSpace } from '../keys/space';
import { useRefusedCommands } from '../rewrite/batch';
import { useExchange } from '../rewrite/current';
import { useGcLimits } from '../rewrite/gc-limits';
import { useLookups } from '../rewrite/region-acts';
import { useLatestTimestamp, useLongestLease } from '../rewrite/values';
import { grantsLease } from '../schema/messages';
import { DryRun } from '../tenant/tenant';
import { earliestTimestamp, latestTimestamp } from './clock';
import { Phase, Stream } from './stream';

export function enter(stream: Stream): void {
  const space = stream.space;
  if (space != null) useSpace(space);
  useLatestTimestamp(latestTimestamp(stream.maxDriftMs));
  useGcLimits(earliestTimestamp(stream.maxHoldBackSeconds), stream.maxHoldBackSeconds);
  useLongestLease(stream.maxEtcdLeaseSeconds);
  useLookups(stream.looksUp);
  useRefusedCommands(stream.policyBits, stream.dryRun != DryRun.NONE);
  useNamespace(stream.namespaceAt, stream.namespaceLength, stream.tenantNumber);
  const grants = stream.phase == Phase.MAP && grantsLease(stream.requestMessage);
  useExchange(stream.exchange, grants ? randomLease() : 0);
}
