/** proto/pd/endpoints.ts held against PD itself: every route has a decision, and every member of its rules a meaning. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  BUNDLE,
  ENDPOINTS,
  HOT_HISTORY,
  LABEL_PATCH,
  LABEL_RULE,
  PLACEMENT_RULE,
  RULE_GROUP,
  RULE_OPERATION,
  type Shape,
} from '../../proto/pd/endpoints.ts';
import { endpointFor } from '../../src-ts/schema/http.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const ANY_METHOD = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** PD's sources, as the module of the real PD names them. */
let pd: string;

beforeAll(() => {
  const folder = join(ROOT, 'test/harness/servers/pd');
  execFileSync('go', ['mod', 'download', 'github.com/tikv/pd'], { cwd: folder });
  pd = execFileSync('go', ['list', '-m', '-f', '{{.Dir}}', 'github.com/tikv/pd'], {
    cwd: folder,
    encoding: 'utf8',
  }).trim();
});

const source = (path: string): string => readFileSync(join(pd, path), 'utf8');

interface Route {
  method: string;
  path: string;
}

/** Routes of server/api/router.go: `registerFunc(router, "/path", handler, setMethods(http.MethodGet, …), …)`. */
function routesOfV1(): Route[] {
  const text = source('server/api/router.go');
  const found = [
    ...text.matchAll(
      /register(Func|Prefix)\([^,]+,\s*"([^"]+)"([\s\S]*?)(?=\n\s*register|\n\n|\n\t\t?\w+ :?=)/g,
    ),
  ];
  const routes = found.flatMap(([, kind, path, rest]) => {
    const methods = [...rest!.matchAll(/http\.Method(\w+)/g)].map(([, name]) => name!.toUpperCase());
    const whole = `/pd/api/v1${path}${kind === 'Prefix' ? '/x' : ''}`;
    return (methods.length > 0 ? methods : ANY_METHOD).map((method) => ({ method, path: whole }));
  });
  for (const [, path] of text.matchAll(/rootRouter\.HandleFunc\("([^"]+)"/g))
    routes.push({ method: 'GET', path: `/pd${path}` });
  return routes;
}

/** Routes of server/apiv2/handlers: `router := r.Group("group")`, `router.GET("/:name", …)`. */
function routesOfV2(): Route[] {
  const folder = join(pd, 'server/apiv2/handlers');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.go') && !name.endsWith('_test.go'))
    .flatMap((name) => {
      const text = readFileSync(join(folder, name), 'utf8');
      const group = /\.Group\("([^"]+)"\)/.exec(text)?.[1];
      return [...text.matchAll(/router\.(GET|POST|PUT|PATCH|DELETE)\("([^"]*)"/g)].map(
        ([, method, path]) => ({
          method: method!,
          path: `/pd/api/v2/${group}/${path}`.replace(/\/+/g, '/').replace(/\/$/, ''),
        }),
      );
    });
}

/** A path that the route matches. */
const sample = (path: string): string => path.replace(/\{[^}]+\}|[:*]\w+/g, 'x');

test('every route of PD has a decision', () => {
  const routes = [...routesOfV1(), ...routesOfV2()];
  // What the expressions above find in the version that is used; fewer would mean that they no longer see all.
  const registered = source('server/api/router.go').match(/^\s*register(Func|Prefix)\(/gm)!.length;
  expect(new Set(routesOfV1().map(({ path }) => path)).size).toBeGreaterThan(100);
  expect(routesOfV1().length).toBeGreaterThanOrEqual(registered);
  expect(routesOfV2().length).toBeGreaterThan(15);
  const undecided = routes.filter(({ method, path }) => endpointFor(method, sample(path)) === undefined);
  expect(undecided).toEqual([]);
});

test('what is let through is a route of PD', () => {
  const routes = [...routesOfV1(), ...routesOfV2()];
  const parts = (path: string): string[] => path.split('/');
  const isRoute = (method: string, path: string): boolean =>
    routes.some(
      (route) =>
        route.method === method &&
        parts(route.path).length === parts(path).length &&
        parts(route.path).every(
          (part, i) => part === parts(path)[i] || /^[{:]/.test(part) || parts(path)[i] === '*',
        ),
    );
  for (const { method, path, decision } of ENDPOINTS)
    if (decision !== 'refuse') expect([method, path, isRoute(method, path)]).toEqual([method, path, true]);
});

describe('the members of', () => {
  /** JSON names of a Go struct, those of embedded ones left out. */
  function membersOf(file: string, struct: string): string[] {
    const body = new RegExp(`type ${struct} struct \\{([\\s\\S]*?)\\n\\}`).exec(source(file))?.[1];
    if (body === undefined) throw new Error(`${file} has no ${struct}`);
    return [...body.matchAll(/json:"([^",]+)/g)].map(([, name]) => name!).filter((name) => name !== '-');
  }

  const ours = (shape: Shape): string[] => Object.keys((shape as { object: object }).object);
  const item = (shape: Shape, member: string): Shape => {
    const found = (shape as { object: Record<string, Shape> }).object[member] as { list: Shape };
    return found.list;
  };
  /** Set by PD at run time; a client's own would be overwritten. */
  const AT_RUN_TIME = ['version', 'create_timestamp'];
  const LABELER = 'pkg/schedule/labeler/rules.go';
  const PLACEMENT = 'pkg/schedule/placement/rule.go';

  test.each<[string, string, Shape, string[]]>([
    ['LabelRule', LABELER, LABEL_RULE, []],
    ['RegionLabel', LABELER, item(LABEL_RULE, 'labels'), []],
    ['KeyRangeRule', LABELER, item(LABEL_RULE, 'data'), []],
    ['LabelRulePatch', LABELER, LABEL_PATCH, []],
    ['Rule', PLACEMENT, PLACEMENT_RULE, AT_RUN_TIME],
    ['RuleGroup', PLACEMENT, RULE_GROUP, []],
    ['GroupBundle', PLACEMENT, BUNDLE, []],
    ['HistoryHotRegionsRequest', 'server/handler.go', HOT_HISTORY, []],
    [
      'LabelConstraint',
      'pkg/schedule/placement/label_constraint.go',
      item(PLACEMENT_RULE, 'label_constraints'),
      [],
    ],
  ])('%s are all judged', (struct, file, shape, leftOut) => {
    expect([...ours(shape), ...leftOut].toSorted()).toEqual(membersOf(file, struct).toSorted());
  });

  test('RuleOp are those of Rule and its own', () => {
    const own = membersOf('pkg/schedule/placement/rule_manager.go', 'RuleOp');
    expect(ours(RULE_OPERATION).toSorted()).toEqual([...ours(PLACEMENT_RULE), ...own].toSorted());
  });
});
