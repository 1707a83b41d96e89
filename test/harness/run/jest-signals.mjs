// Loaded first into jest: what tests register for signals is registered with jest's copy of `process` and hears nothing. The reapers
// end what the tests have started.
import { constants } from 'node:os';

for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM'])
  process.once(name, () => process.exit(128 + constants.signals[name]));
