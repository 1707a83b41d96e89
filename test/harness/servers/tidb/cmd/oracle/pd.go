package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/pingcap/kvproto/pkg/keyspacepb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/tikv/client-go/v2/tikv"
	pd "github.com/tikv/pd/client"
)

// pdCalls takes the place of a PD client below CodecPDClient: it keeps the keys that it is asked for and gives prepared regions.
type pdCalls struct {
	pd.Client
	id      uint32
	keys    [][]byte
	regions []*pd.Region
}

func (c *pdCalls) LoadKeyspace(context.Context, string) (*keyspacepb.KeyspaceMeta, error) {
	return &keyspacepb.KeyspaceMeta{Id: c.id, State: keyspacepb.KeyspaceState_ENABLED}, nil
}

func (c *pdCalls) one() (*pd.Region, error) {
	if len(c.regions) == 0 {
		return nil, nil
	}
	return c.regions[0], nil
}

func (c *pdCalls) GetRegion(_ context.Context, key []byte, _ ...pd.GetRegionOption) (*pd.Region, error) {
	c.keys = [][]byte{key}
	return c.one()
}

func (c *pdCalls) GetPrevRegion(_ context.Context, key []byte, _ ...pd.GetRegionOption) (*pd.Region, error) {
	c.keys = [][]byte{key}
	return c.one()
}

func (c *pdCalls) GetRegionByID(context.Context, uint64, ...pd.GetRegionOption) (*pd.Region, error) {
	return c.one()
}

func (c *pdCalls) ScanRegions(_ context.Context, start, end []byte, _ int, _ ...pd.GetRegionOption) ([]*pd.Region, error) {
	c.keys = [][]byte{start, end}
	return c.regions, nil
}

func (c *pdCalls) BatchScanRegions(_ context.Context, ranges []pd.KeyRange, _ int, _ ...pd.GetRegionOption) ([]*pd.Region, error) {
	c.keys = nil
	for _, keyRange := range ranges {
		c.keys = append(c.keys, keyRange.StartKey, keyRange.EndKey)
	}
	return c.regions, nil
}

// pdMethod is one of PD's calls with keys.
type pdMethod struct {
	name              string
	request, response any
	// call makes the call that the request describes.
	call func(client pd.Client, request any) error
	// keys are the request's fields that hold keys, in the order of `pdCalls.keys`.
	keys func(request any) []*[]byte
}

var pdMethods = []pdMethod{
	{"GetRegion", pdpb.GetRegionRequest{}, pdpb.GetRegionResponse{}, func(client pd.Client, request any) error {
		_, err := client.GetRegion(context.Background(), request.(*pdpb.GetRegionRequest).RegionKey)
		return err
	}, regionKey},
	{"GetPrevRegion", pdpb.GetRegionRequest{}, pdpb.GetRegionResponse{}, func(client pd.Client, request any) error {
		_, err := client.GetPrevRegion(context.Background(), request.(*pdpb.GetRegionRequest).RegionKey)
		return err
	}, regionKey},
	{"GetRegionByID", pdpb.GetRegionByIDRequest{}, pdpb.GetRegionResponse{}, func(client pd.Client, request any) error {
		_, err := client.GetRegionByID(context.Background(), request.(*pdpb.GetRegionByIDRequest).RegionId)
		return err
	}, func(any) []*[]byte { return nil }},
	{"ScanRegions", pdpb.ScanRegionsRequest{}, pdpb.ScanRegionsResponse{}, func(client pd.Client, request any) error {
		scan := request.(*pdpb.ScanRegionsRequest)
		_, err := client.ScanRegions(context.Background(), scan.StartKey, scan.EndKey, int(scan.Limit)) //nolint:staticcheck
		return err
	}, func(request any) []*[]byte {
		scan := request.(*pdpb.ScanRegionsRequest)
		return []*[]byte{&scan.StartKey, &scan.EndKey}
	}},
	{"BatchScanRegions", pdpb.BatchScanRegionsRequest{}, pdpb.BatchScanRegionsResponse{}, func(client pd.Client, request any) error {
		scan := request.(*pdpb.BatchScanRegionsRequest)
		var ranges []pd.KeyRange
		for _, keyRange := range scan.Ranges {
			ranges = append(ranges, pd.KeyRange{StartKey: keyRange.StartKey, EndKey: keyRange.EndKey})
		}
		_, err := client.BatchScanRegions(context.Background(), ranges, int(scan.Limit))
		return err
	}, func(request any) []*[]byte {
		var keys []*[]byte
		for _, keyRange := range request.(*pdpb.BatchScanRegionsRequest).Ranges {
			keys = append(keys, &keyRange.StartKey, &keyRange.EndKey)
		}
		return keys
	}},
}

func regionKey(request any) []*[]byte {
	return []*[]byte{&request.(*pdpb.GetRegionRequest).RegionKey}
}

func pdCases(both codecs, opts options, out *emitter) error {
	mode, err := modeOf(opts.mode)
	if err != nil {
		return err
	}
	calls := &pdCalls{id: both.id}
	client := tikv.NewCodecPDClient(mode, calls)
	store, err := tikv.NewCodecPDClientWithKeyspace(mode, calls, "any")
	if err != nil {
		return err
	}
	for _, method := range pdMethods {
		if opts.only != "" && opts.only != method.name {
			continue
		}
		for i := range opts.count {
			made, err := method.requestCase(both, client, store, calls, opts.seed, i)
			if err != nil {
				return fmt.Errorf("%s, case %d: %w", method.name, i, err)
			}
			out.emit(made)
			if made, err = method.responseCase(both, store, calls, opts.seed, i); err != nil {
				return fmt.Errorf("%s, case %d: %w", method.name, i, err)
			}
			out.emit(made)
		}
	}
	return nil
}

func (p pdMethod) record(kind reflect.Type, way string, i int) record {
	return record{Command: p.name, Case: i, Path: "/pdpb.PD/" + p.name, Message: typeName(kind), Way: way}
}

// requestCase asks for the same keys through both clients and puts what PD would be sent into the request.
func (p pdMethod) requestCase(both codecs, client, store pd.Client, calls *pdCalls, seed uint64, i int) (record, error) {
	random := randomFor(seed, p.name, "pd request", i)
	kind := reflect.TypeOf(p.request)
	make := maker{random: random, density: densities[random.IntN(len(densities))], request: true, emptyPercent: 10, store: storeKeys{codecs: both, random: random}}
	source := mustMarshal(make.make(kind))
	through := func(client pd.Client) ([]byte, error) {
		calls.keys, calls.regions = nil, nil
		request := parse(kind, source)
		if err := p.call(client, request); err != nil {
			return nil, err
		}
		for i, field := range p.keys(request) {
			*field = calls.keys[i]
		}
		return mustMarshal(request), nil
	}
	made := p.record(kind, "request", i)
	var err error
	if made.In, err = through(client); err != nil {
		return made, err
	}
	if chance(random, shuffledPercent) {
		made.In = shuffled(random, made.In)
	}
	made.Out, err = through(store)
	return made, err
}

// responseCase gives regions to the client with keyspaces, which decodes them where they lie in the answer.
func (p pdMethod) responseCase(both codecs, store pd.Client, calls *pdCalls, seed uint64, i int) (record, error) {
	random := randomFor(seed, p.name, "pd response", i)
	kind := reflect.TypeOf(p.response)
	make := maker{random: random, density: densities[random.IntN(len(densities))], store: storeKeys{codecs: both, random: random}}
	if chance(random, mixedPercent) {
		make.store.foreignPercent = 1 + random.IntN(40)
	}
	answer := make.make(kind)
	made := p.record(kind, "response", i)
	made.In = mustMarshal(answer)
	decode := func(answer any) error {
		calls.regions = regionsOf(answer)
		return p.call(store, reflect.New(reflect.TypeOf(p.request)).Interface())
	}

	var upstream []byte
	outcome := ""
	decoded := parse(kind, made.In)
	if err := decode(decoded); err != nil {
		outcome = failed
	} else {
		both.wearV1(decoded)
		upstream = mustMarshal(decoded)
	}

	var ids notes
	ours := parse(kind, made.In)
	both.spareRegions(ours, &ids)
	if err := decode(ours); err != nil {
		return made, err
	}
	both.complete(command{}, ours, &ids)
	both.wearV1(ours)
	made.Out = mustMarshal(ours)
	made.differ(ids, upstream, outcome)
	if chance(random, shuffledPercent) {
		made.In = shuffled(random, made.In)
	}
	return made, nil
}

// regionsOf are the regions of an answer, as the client library reads them.
func regionsOf(answer any) []*pd.Region {
	var regions []*pd.Region
	add := func(meta *metapb.Region, buckets *metapb.Buckets) {
		if meta != nil {
			regions = append(regions, &pd.Region{Meta: meta, Buckets: buckets})
		}
	}
	switch answer := answer.(type) {
	case *pdpb.GetRegionResponse:
		add(answer.Region, answer.Buckets)
	case *pdpb.ScanRegionsResponse:
		for _, region := range answer.Regions {
			add(region.Region, region.Buckets)
		}
	case *pdpb.BatchScanRegionsResponse:
		for _, region := range answer.Regions {
			add(region.Region, region.Buckets)
		}
	}
	return regions
}

// spareRegions takes out what the filter takes out.
func (c codecs) spareRegions(answer any, ids *notes) {
	foreign := func(region *metapb.Region) bool {
		if region == nil {
			return false
		}
		if !c.ownsRegion(region.StartKey, region.EndKey) {
			ids.add(pdRegion)
			return true
		}
		return c.strayRegion(region, ids)
	}
	own := func(regions []*pdpb.Region) []*pdpb.Region {
		for _, region := range regions {
			if region.Buckets != nil {
				ids.add(pdBuckets)
				region.Buckets = nil
			}
		}
		return slices.DeleteFunc(regions, func(region *pdpb.Region) bool { return foreign(region.Region) })
	}
	switch answer := answer.(type) {
	case *pdpb.GetRegionResponse:
		if answer.Buckets != nil {
			ids.add(pdBuckets)
			answer.Buckets = nil
		}
		if foreign(answer.Region) {
			*answer = pdpb.GetRegionResponse{Header: answer.Header}
		}
	case *pdpb.ScanRegionsResponse:
		if len(answer.RegionMetas)+len(answer.Leaders) > 0 {
			ids.add(pdOldLists)
			answer.RegionMetas, answer.Leaders = nil, nil
		}
		answer.Regions = own(answer.Regions)
	case *pdpb.BatchScanRegionsResponse:
		answer.Regions = own(answer.Regions)
	}
}
