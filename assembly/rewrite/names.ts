/** Checks which names in PD's protocols tenants may use. */
import { Ascii, ascii, equals } from '../wire/bytes';

/** Replaces a text of the storage layer that may quote keys. */
export const WITHHELD: Ascii = ascii(
  'tidb-mesh: the text of this error is withheld, it may quote keys of the store',
);

const GLOBAL_CONFIG: Ascii = ascii('/global/config/');
/** Where TiDB reads how request units are counted; one value for the whole store. */
export const CONTROLLER: Ascii = ascii('resource_group/controller');

/** True for a single segment of a path. PD joins such names to a path, and `..` would lead out of it. */
export function isSegment(p: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i++) if (load<u8>(p + i) == 0x2f) return false;
  return !(length == 2 && load<u16>(p) == 0x2e2e) && !(length == 1 && load<u8>(p) == 0x2e);
}

/** True for a path of PD's global configuration that TiDB reads. An empty path means `/global/config/`. */
export function isConfigPath(p: usize, length: usize): bool {
  return length == 0 || equals(p, length, GLOBAL_CONFIG) || equals(p, length, CONTROLLER);
}
