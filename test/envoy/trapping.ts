/** The filter with a trap in it, which no user ever gets: it fails on a request with very many headers. */
import binaryen from 'binaryen';
import { readFileSync, writeFileSync } from 'node:fs';

/** From so many headers on. */
export const TRAP_HEADERS = 60;
const CALLBACK = 'proxy_on_request_headers';

/** Writes the module at `from`, with the trap, to `to`. */
export function writeTrapping(from: string, to: string): void {
  const module = binaryen.readBinary(readFileSync(from));
  module.setFeatures(binaryen.Features.All);
  const { i32, createType } = binaryen;
  const { value: original } = binaryen.getExportInfo(module.getExport(CALLBACK));
  const [context, headers, last] = [0, 1, 2].map((at) => module.local.get(at, i32)) as [
    number,
    number,
    number,
  ];
  const isMany = module.i32.ge_u(headers, module.i32.const(TRAP_HEADERS));
  const { params } = binaryen.getFunctionInfo(module.getFunction(original));
  if (params !== createType([i32, i32, i32])) throw new Error(`${CALLBACK} has other parameters`);
  module.addFunction(
    'trapping',
    params,
    i32,
    [],
    module.block(
      null,
      [
        module.if(isMany, module.unreachable()),
        module.call(original, [context, module.local.get(1, i32), last], i32),
      ],
      i32,
    ),
  );
  module.removeExport(CALLBACK);
  module.addFunctionExport('trapping', CALLBACK);
  if (!module.validate()) throw new Error('the module with the trap is not valid');
  writeFileSync(to, module.emitBinary());
  module.dispose();
}
