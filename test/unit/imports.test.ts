/** The file that describes clusters outside of the mesh, and what a mesh file says of a tenant that comes from one. */
import { describe, expect, test } from '@jest/globals';
import { clusterNamed, readClusters } from '../../src-ts/move/clusters.ts';
import { withOrders } from '../../src-ts/move/filters/config.ts';
import { isSamePlace, placeText, tenantAt } from '../../src-ts/move/place.ts';

describe('the file of clusters', () => {
  const read = (text: string): ReturnType<typeof readClusters> =>
    readClusters(text, '/etc/mesh/clusters.yaml');

  test('names PDs and files beside it', () => {
    const clusters = read(`
clusters:
  shop: # the first
    pd: https://pd.shop:2379
    ca: shop/ca.pem
    cert: /var/shop.pem
    key: ../shop.key
    serverName: pd
  blog: { pd: http://10.0.7.1:2379 }
`);
    expect([...clusters]).toEqual([
      [
        'shop',
        {
          pd: 'https://pd.shop:2379',
          ca: '/etc/mesh/shop/ca.pem',
          cert: '/var/shop.pem',
          key: '/etc/shop.key',
          serverName: 'pd',
        },
      ],
      ['blog', { pd: 'http://10.0.7.1:2379' }],
    ]);
    expect(clusterNamed(clusters, 'blog')).toEqual({ pd: 'http://10.0.7.1:2379' });
  });

  test.each([
    ['storages: {}', 'it has no `clusters`'],
    ['clusters: [', '/etc/mesh/clusters.yaml: '],
    ['clusters: { Shop: { pd: x } }', 'Shop is no name for a cluster'],
    ['clusters: { shop: x }', 'shop is no object'],
    ['clusters: { shop: { ca: x } }', 'shop has no pd'],
    ['clusters: { shop: { pd: 7 } }', 'shop: pd is no text'],
    ['clusters: { shop: { pd: x, crt: y } }', 'shop has an unknown field crt'],
    ['clusters: { shop: { pd: x }, blog: { pd: x } }', 'shop and blog have the same PD'],
  ])('%s is refused', (text, why) => {
    expect(() => read(text)).toThrow(why);
  });

  test('an unknown cluster is told with the one that was meant', () => {
    const clusters = read('clusters: { shop: { pd: x } }');
    expect(() => clusterNamed(clusters, 'shopp')).toThrow('cluster shopp is not known');
    expect(() => clusterNamed(new Map(), 'shop')).toThrow('cluster shop is not known');
  });
});

describe('a tenant that comes from a cluster', () => {
  const cluster = { cluster: 'shop' };

  test('has all keys of the cluster there', () => {
    expect(tenantAt({ name: 'alpha', number: 7 }, cluster)).toEqual({ name: 'alpha', number: 0 });
    expect(placeText({ number: 7 }, cluster)).toBe('cluster shop');
    expect(isSamePlace(cluster, {})).toBe(false);
    expect(isSamePlace(cluster, { cluster: 'shop' })).toBe(true);
  });

  const FILE = `tenants:
  - name: alpha # comes from shop
    number: 7
    state: suspended
`;

  test('is suspended in the mesh file until it is served in the mesh', () => {
    const move = { serial: 3, phase: 'calm' } as const;
    const active = withOrders(FILE, 'mesh.yaml', 'alpha', { place: {}, state: 'active', move });
    expect(active).not.toContain('state:');
    expect(active).toContain('# comes from shop');
    expect(withOrders(active, 'mesh.yaml', 'alpha', { place: {}, state: 'suspended' })).toContain(
      'state: suspended',
    );
  });

  test('other moves leave the state that an operator has set', () => {
    expect(withOrders(FILE, 'mesh.yaml', 'alpha', { place: { keyNumber: 9 } })).toContain('state: suspended');
  });
});
