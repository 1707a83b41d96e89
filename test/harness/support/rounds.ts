/** Set to 1: random tests run as many rounds as before a release, some minutes more. */
const LONG = process.env['TIDB_MESH_LONG'] === '1';

/** How often a random test or one that waits for a leak goes round: what each commit needs, and what a release gets. */
export function rounds(short: number, long: number): number {
  return LONG ? long : short;
}
