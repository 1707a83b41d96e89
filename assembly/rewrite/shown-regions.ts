/**
 * Learns whose regions are from answers, before their bounds are mapped: PD's answers about regions, and the store's answer to a split.
 * Answers are read only while requests act on regions (see `isLearning`): reading costs as much as following the layout of a list.
 */
import { ownsRegion } from '../keys/space';
import { Msg } from '../schema/table';
import * as find from './find';
import { hasRegion, learnRegion } from './regions';

/** metapb.Region and its RegionEpoch. */
const ID: u32 = 1;
const START_KEY: u32 = 2;
const END_KEY: u32 = 3;
const EPOCH: u32 = 4;
const VERSION: u32 = 2;
/** pdpb.Region.region */
const INNER: u32 = 1;

/** Reads an answer as the store or PD gave it. */
export function learnShown(message: u32, p: usize, length: usize): void {
  const end = p + length;
  switch (message) {
    case Msg.GET_REGION_RESPONSE:
      learnEach(p, end, 2, false);
      break;
    case Msg.SCAN_REGIONS_RESPONSE:
      learnEach(p, end, 4, true);
      break;
    case Msg.BATCH_SCAN_REGIONS_RESPONSE:
      learnEach(p, end, 2, true);
      break;
    case Msg.SPLIT_REGION_RESPONSE:
      // left, right and regions.
      for (let field: u32 = 2; field <= 4; field++) learnEach(p, end, field, false);
  }
}

/** Learns the regions in the fields of this number. `nested`: the region is inside PD's message, beside its leader. */
function learnEach(p: usize, end: usize, field: u32, nested: bool): void {
  while ((p = find.findField(p, end, field)) != 0) {
    const behind = find.foundEnd;
    if (!nested) learn(p, behind);
    else if ((p = find.findField(p, behind, INNER)) != 0) learn(p, find.foundEnd);
    p = behind;
  }
}

function learn(p: usize, end: usize): void {
  const region = find.findVarint(p, end, ID);
  const epoch = find.findField(p, end, EPOCH);
  if (region == 0 || epoch == 0) return;
  const version = find.findVarint(epoch, find.foundEnd, VERSION);
  const start = find.findField(p, end, START_KEY);
  const startLength = start == 0 ? 0 : find.foundEnd - start;
  const stop = find.findField(p, end, END_KEY);
  const stopLength = stop == 0 ? 0 : find.foundEnd - stop;
  const inside = ownsRegion(start, startLength, stop, stopLength);
  // A region outside matters only when an earlier version was known.
  if (version != 0 && (inside || hasRegion(region))) learnRegion(region, version, inside);
}
