/** Installs and builds the servers that the tests need, so that no test waits for a build. `mesh`: those of the service mesh. */
import { lacking } from '../../mesh/requirements.ts';
import {
  installPrometheus,
  NEWEST_ISTIO,
  OLDEST_ISTIO,
  prepare,
  prepareControlPlane,
} from '../stack/builds.ts';
import { progressFor } from '../stack/progress.ts';

try {
  if (process.argv[2] !== 'mesh') {
    await prepare(progressFor());
    await progressFor().run([
      { title: 'Install Prometheus', run: async () => void (await installPrometheus()) },
    ]);
  } else {
    const reason = lacking();
    if (reason === undefined)
      for (const version of [NEWEST_ISTIO, OLDEST_ISTIO]) await prepareControlPlane(progressFor(), version);
    else console.error(`The mesh's servers are not built, for there can be no mesh here: ${reason}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
