package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// How often (of a hundred cases) a message has something out of the ordinary.
const (
	shuffledPercent  = 15
	noContextPercent = 4
	maxReadPercent   = 10
	mixedPercent     = 40
	// Commands that the keyspace does not serve: a few show that they are refused.
	wrongSpaceCases = 25
)

var densities = []int{0, 15, 40, 60, 75, 85, 100}

// randomFor is the same for the same seed, command, direction and number.
func randomFor(seed uint64, command, way string, i int) *rand.Rand {
	hash := fnv.New64a()
	fmt.Fprint(hash, command, way, i)
	return rand.New(rand.NewPCG(seed, hash.Sum64()))
}

func codecCases(both codecs, opts options, out *emitter) error {
	if err := checkCommands(); err != nil {
		return err
	}
	found := false
	for _, c := range commands {
		if opts.only != "" && opts.only != c.cmd.String() {
			continue
		}
		found = true
		if c.refused {
			out.emit(record{Command: c.cmd.String(), Path: c.path(), Outcome: noMethod, Differences: []string{methodRefused}})
			continue
		}
		if c.keyless {
			out.emit(record{Command: c.cmd.String(), Path: c.path(), Outcome: unread})
			continue
		}
		request, response, err := c.types()
		if err != nil {
			return err
		}
		if !both.serves(c.needs) {
			for i := range wrongSpaceCases {
				made := requestCase(both, c, request, opts.seed, i)
				made.Out, made.Outcome, made.Differences = nil, refused, []string{wrongSpace}
				out.emit(made)
			}
			continue
		}
		for i := range opts.count {
			out.emit(requestCase(both, c, request, opts.seed, i))
		}
		for i := range opts.count {
			made, err := responseCase(both, c, response, opts.seed, i)
			if err != nil {
				return err
			}
			out.emit(made)
		}
	}
	if !found {
		return fmt.Errorf("tikvrpc knows no command %q", opts.only)
	}
	return nil
}

// requestCase: the client's bytes are CodecV1's, the store's are CodecV2's, and ours those with the listed differences.
func requestCase(both codecs, c command, kind reflect.Type, seed uint64, i int) record {
	random := randomFor(seed, c.cmd.String(), "request", i)
	make := maker{random: random, density: densities[random.IntN(len(densities))], request: true, store: storeKeys{codecs: both, random: random}}
	if chance(random, 15) {
		make.emptyPercent = 20
	}
	wanted := make.make(kind)
	if c.cmd == tikvrpc.CmdCop || c.cmd == tikvrpc.CmdCopStream {
		make.settlePlan(wanted.(*coprocessor.Request))
	}
	if chance(random, maxReadPercent) {
		readLatest(wanted)
	}
	var context kvrpcpb.Context
	bare := chance(random, noContextPercent)
	if !bare {
		make.fill(reflect.ValueOf(&context).Elem(), 1)
	}

	request := tikvrpc.Request{Type: c.cmd, Req: wanted, Context: context}
	source := mustMarshal(wanted)
	encode := func(codec interface {
		EncodeRequest(*tikvrpc.Request) (*tikvrpc.Request, error)
	}) any {
		request := request
		request.Req = parse(kind, source)
		encoded, err := codec.EncodeRequest(&request)
		if err != nil {
			panic(err)
		}
		tikvrpc.AttachContext(encoded, encoded.Context)
		return encoded.Req
	}
	sent := encode(both.v1)
	if context := contextOf(sent); context != nil {
		clientContext(random, context)
		if bare {
			setContext(sent, nil)
		}
	}
	stored := encode(both.v2)

	made := record{Command: c.cmd.String(), Case: i, Path: c.path(), Message: typeName(kind), Way: "request", In: mustMarshal(sent)}
	if chance(random, shuffledPercent) {
		made.In = shuffled(random, made.In)
	}
	upstream := mustMarshal(stored)
	var ids notes
	ours := parse(kind, upstream)
	switch {
	case lacksKey(sent):
		ids.add(emptyKey)
		made.Outcome = refused
	case actsNowhere(sent):
		ids.add(regionMissing)
		made.Outcome = refused
	default:
		oursToStore(both, c, sent, ours, &ids)
		made.Out = mustMarshal(ours)
	}
	made.differ(ids, upstream, "")
	return made
}

// readLatest asks for the newest version where clients do so.
func readLatest(request any) {
	switch request := request.(type) {
	case *kvrpcpb.GetRequest:
		request.Version = math.MaxUint64
	case *kvrpcpb.BatchGetRequest:
		request.Version = math.MaxUint64
	case *kvrpcpb.ScanRequest:
		request.Version = math.MaxUint64
	case *kvrpcpb.ScanLockRequest:
		request.MaxVersion = math.MaxUint64
	case *coprocessor.Request:
		request.StartTs = math.MaxUint64
	}
}

// responseCase: the store's bytes hold keys of the keyspace and, in some cases, of others; the client's are CodecV2's in CodecV1's form.
func responseCase(both codecs, c command, kind reflect.Type, seed uint64, i int) (record, error) {
	random := randomFor(seed, c.cmd.String(), "response", i)
	make := maker{random: random, density: densities[random.IntN(len(densities))], store: storeKeys{codecs: both, random: random}}
	if chance(random, mixedPercent) {
		make.store.foreignPercent = 1 + random.IntN(40)
		make.quotingPercent = random.IntN(40)
	}
	stored := mustMarshal(make.make(kind))
	made := record{Command: c.cmd.String(), Case: i, Path: c.path(), Message: typeName(kind), Way: "response", In: stored}
	if chance(random, shuffledPercent) {
		made.In = shuffled(random, stored)
	}

	var upstream []byte
	outcome := ""
	if answer, err := both.decode(c.cmd, parse(kind, stored)); err != nil {
		outcome = failed
	} else {
		both.wearV1(answer)
		upstream = mustMarshal(answer)
	}

	var ids notes
	ours := parse(kind, stored)
	both.spare(c, ours, &ids)
	ours, err := both.decode(c.cmd, ours)
	if err != nil {
		return made, fmt.Errorf("%s, case %d: CodecV2 fails for a reason that is not listed: %w", c.cmd, i, err)
	}
	both.complete(c, ours, &ids)
	both.wearV1(ours)
	made.Out = mustMarshal(ours)
	made.differ(ids, upstream, outcome)
	return made, nil
}

// decode is CodecV2's DecodeResponse; what it has no case for stays as it is.
func (c codecs) decode(cmd tikvrpc.CmdType, response any) (any, error) {
	if cmd == tikvrpc.CmdCopStream {
		// CodecV2 refuses all streams of answers; see the list of differences.
		return response, nil
	}
	decoded, err := c.v2.DecodeResponse(&tikvrpc.Request{Type: cmd}, &tikvrpc.Response{Resp: response})
	if err != nil {
		return nil, err
	}
	return decoded.Resp, nil
}

// differ fills in upstream's side. Every difference must be a listed one.
func (r *record) differ(ids notes, upstream []byte, outcome string) {
	if outcome == "" && r.Outcome == "" && bytes.Equal(upstream, r.Out) {
		return
	}
	if len(ids) == 0 {
		panic(fmt.Sprintf("%s %s, case %d: a difference that is not listed", r.Command, r.Way, r.Case))
	}
	r.Differences, r.Upstream, r.UpstreamOutcome = ids, upstream, outcome
}
