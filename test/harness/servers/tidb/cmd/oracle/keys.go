package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/pingcap/kvproto/pkg/keyspacepb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/util/codec"
)

// codecs are the two sides of one keyspace: v1 is how a client without keyspaces speaks, v2 how the store wants it.
type codecs struct {
	v1, v2 tikv.Codec
	mode   string
	id     uint32
	// tenant is the number that the filter knows the keyspace's owner by.
	tenant uint32
}

func newCodecs(opts options) (codecs, error) {
	mode, err := modeOf(opts.mode)
	if err != nil {
		return codecs{}, err
	}
	v2, err := tikv.NewCodecV2(mode, &keyspacepb.KeyspaceMeta{Id: opts.keyspace})
	if err != nil {
		return codecs{}, err
	}
	return codecs{v1: tikv.NewCodecV1(mode), v2: v2, mode: opts.mode, id: opts.keyspace, tenant: opts.tenant}, nil
}

// serves says whether a command is for this keyspace.
func (c codecs) serves(n needs) bool {
	return n == anySpace || (n == txnSpace) == (c.mode == "txn")
}

// owns says whether a raw key of the store lies in the keyspace.
func (c codecs) owns(key []byte) bool {
	_, err := c.v2.DecodeKey(key)
	return err == nil
}

// ownsRange says whether a raw range of the store touches the keyspace.
func (c codecs) ownsRange(start, end []byte) bool {
	_, _, err := c.v2.DecodeRange(start, end)
	return err == nil
}

// ownsRegion does the same for a region's bounds as PD has them.
func (c codecs) ownsRegion(start, end []byte) bool {
	_, _, err := c.v2.DecodeRegionRange(start, end)
	return err == nil
}

// first is the keyspace's own empty key: what decodes to no bytes.
func (c codecs) first() []byte {
	return c.v2.EncodeKey(nil)
}

// end is the first key behind the keyspace.
func (c codecs) end() []byte {
	_, end := c.v2.EncodeRange(nil, nil)
	return append([]byte{}, end...)
}

// beginsBehind says whether a region begins behind all keys of the keyspace and still before its end: at `y` for the last keyspace, which
// ends at `y` 00 00 00.
func (c codecs) beginsBehind(start []byte) bool {
	if len(start) == 0 {
		return false
	}
	_, key, err := codec.DecodeBytes(start, nil)
	if err != nil {
		panic(err)
	}
	return bytes.Compare(key, c.v2.GetKeyspace()) > 0 && !c.owns(key) && bytes.Compare(key, c.end()) < 0
}

func chance(random *rand.Rand, percent int) bool {
	return random.IntN(100) < percent
}

func randomBytes(random *rand.Rand, length int) []byte {
	bytes := make([]byte, length)
	for i := range bytes {
		bytes[i] = byte(random.UintN(256))
	}
	return bytes
}

// clientKey is a key as an application writes it, the empty one included.
func clientKey(random *rand.Rand, emptyPercent int) []byte {
	if chance(random, emptyPercent) {
		return nil
	}
	switch random.IntN(8) {
	case 0:
		return append([]byte{'m'}, randomBytes(random, random.IntN(24))...)
	case 1, 2, 3:
		id := random.Uint64N(1 << 10)
		if chance(random, 20) {
			id = random.Uint64N(1 << 48)
		}
		key := binary.BigEndian.AppendUint64([]byte{'t'}, 1<<63|id)
		switch random.IntN(4) {
		case 0:
		case 1:
			key = append(key, "_r"...)
		default:
			key = binary.BigEndian.AppendUint64(append(key, "_r"...), random.Uint64())
		}
		return key
	case 4:
		// Around the groups of eight of the memcomparable form.
		return randomBytes(random, 1+random.IntN(26))
	case 5:
		key := make([]byte, 1+random.IntN(17))
		if chance(random, 50) {
			for i := range key {
				key[i] = 0xff
			}
		}
		return key
	case 6:
		// Looks like a key of the store already: taken as it is.
		return append([]byte{"xrt"[random.IntN(3)], 0, 0}, randomBytes(random, 1+random.IntN(12))...)
	default:
		if chance(random, 10) {
			return randomBytes(random, 300+random.IntN(4000))
		}
		return randomBytes(random, 1+random.IntN(60))
	}
}

// storeKeys makes keys as the store has them.
type storeKeys struct {
	codecs
	random *rand.Rand
	// Of a hundred keys so many are somebody else's, or empty.
	foreignPercent int
}

func (s storeKeys) key() []byte {
	if chance(s.random, s.foreignPercent) {
		if chance(s.random, 30) {
			return nil
		}
		return s.foreign()
	}
	return s.v2.EncodeKey(clientKey(s.random, 5))
}

// foreign is a key outside of the keyspace, often just outside.
func (s storeKeys) foreign() []byte {
	prefix := s.v2.GetKeyspace()
	for {
		var key []byte
		switch s.random.IntN(7) {
		case 0:
			key = append([]byte{prefix[0] ^ 'r' ^ 'x'}, prefix[1:]...)
			key = append(key, clientKey(s.random, 10)...)
		case 1:
			key = append(s.end(), clientKey(s.random, 50)...)
		case 2:
			key = append([]byte{}, prefix...)
			binary.BigEndian.PutUint32(key, binary.BigEndian.Uint32(key)-1)
			key = append(key, clientKey(s.random, 30)...)
		case 3:
			key = append([]byte{}, prefix[:1+s.random.IntN(3)]...)
		case 4:
			key = clientKey(s.random, 0)
		case 5:
			key = []byte{0xff}
			if chance(s.random, 70) {
				key = s.end()[:1+s.random.IntN(3)]
			}
		default:
			key = randomBytes(s.random, 1+s.random.IntN(12))
		}
		if !s.owns(key) {
			return key
		}
	}
}

// bounds are those of a range that the store has: reaching past the keyspace on one side, on both, or lying elsewhere.
func (s storeKeys) bounds() (start, end []byte) {
	start, end = s.v2.EncodeKey(clientKey(s.random, 15)), s.v2.EncodeKey(append(clientKey(s.random, 0), 0))
	prefix := s.v2.GetKeyspace()
	switch s.random.IntN(8) {
	case 0:
		start = nil
	case 1:
		start = randomBytes(s.random, 1+s.random.IntN(3))
	case 2:
		start = append([]byte{prefix[0] - 1}, randomBytes(s.random, s.random.IntN(9))...)
	}
	switch s.random.IntN(8) {
	case 0:
		end = nil
	case 1:
		end = s.end()
	case 2:
		end = append([]byte{0xff}, randomBytes(s.random, s.random.IntN(9))...)
	}
	if s.ownsRange(start, end) && !chance(s.random, s.foreignPercent) {
		return start, end
	}
	if s.foreignPercent == 0 {
		return s.v2.EncodeKey(nil), nil
	}
	for {
		start, end = s.foreign(), s.foreign()
		if chance(s.random, 30) {
			end = nil
		}
		if chance(s.random, 20) {
			start = nil
		}
		if chance(s.random, 20) {
			end = append([]byte{}, prefix...)
		}
		if !s.ownsRange(start, end) {
			return start, end
		}
	}
}

// regionBounds are bounds in PD's form; an end of the store stays empty.
func (s storeKeys) regionBounds() (start, end []byte) {
	start, end = s.bounds()
	if border := s.end(); s.foreignPercent > 0 && chance(s.random, 20) && border[len(border)-1] == 0 {
		// A border that no PD makes by itself: see beginsBehind.
		start, end = bytes.TrimRight(border, "\x00"), nil
	}
	return memcomparable(start), memcomparable(end)
}

func memcomparable(key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	return codec.EncodeBytes(nil, key)
}

// asV1 gives region bounds that CodecV2 has decoded the form in which a client without keyspaces gets them.
func (c codecs) asV1(key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	return c.v1.EncodeRegionKey(key)
}

// contexts that a client may write; the store must see only the tenant's own version and id.
func clientContext(random *rand.Rand, context *kvrpcpb.Context) {
	switch random.IntN(4) {
	case 0:
		context.ApiVersion, context.KeyspaceId = 0, 0
	case 1:
		context.ApiVersion, context.KeyspaceId = kvrpcpb.APIVersion_V2, random.Uint32N(1<<24)
	default:
		// What CodecV1 leaves: V1 and the id of no keyspace.
	}
}
