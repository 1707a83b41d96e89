/** Names what the tables do not know, for a line in a log: it may hold no keys. */
import { addByte, addForeign } from '../texts/writer';
import * as headers from './headers';

const MAX_METHOD: usize = 16;
const SLASH: u8 = 0x2f;
const SPACE: u8 = 0x20;

/** Adds the method and the path of the request whose headers were read last; `plain`: the path's length without its query. */
export function nameUnknown(plain: usize): void {
  addForeign(headers.methodAt, headers.methodLength, MAX_METHOD);
  addByte(SPACE);
  addUnknown(headers.pathAt, plain);
}

/** An unknown path, `/pd/api/v1/config` or `/pdpb.PD/GetRegion`: four segments at most, letters and - . _ and the digit behind a v. */
function addUnknown(p: usize, length: usize): void {
  let slashes = 0;
  let before: u32 = 0;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(p + i);
    const isLetter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    const isDigit = c >= 0x30 && c <= 0x39;
    if (
      c == SLASH
        ? ++slashes > 4
        : !isLetter && c != 0x2d && c != 0x2e && c != 0x5f && !(isDigit && before == 0x76)
    )
      return;
    addByte(c);
    before = c;
  }
}
