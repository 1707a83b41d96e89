package main

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
)

// message is what kvproto, tipb and etcd generate.
type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func mustMarshal(m any) []byte {
	bytes, err := m.(message).Marshal()
	if err != nil {
		panic(err)
	}
	return bytes
}

// parse gives a fresh message of the same type as `like` from bytes.
func parse(like reflect.Type, bytes []byte) any {
	value := reflect.New(like).Interface()
	// Messages keep parts of the bytes that they are parsed from, and codecs write to them.
	if err := value.(message).Unmarshal(append([]byte{}, bytes...)); err != nil {
		panic(err)
	}
	return value
}

// shuffled gives the same message with its top-level fields in another order; entries of a list keep theirs.
func shuffled(random *rand.Rand, bytes []byte) []byte {
	var numbers []uint64
	fields := map[uint64][][]byte{}
	for rest := bytes; len(rest) > 0; {
		tag, size := binary.Uvarint(rest)
		at := size
		switch tag & 7 {
		case 0:
			_, size := binary.Uvarint(rest[at:])
			at += size
		case 1:
			at += 8
		case 2:
			length, size := binary.Uvarint(rest[at:])
			at += size + int(length)
		case 5:
			at += 4
		default:
			panic("a wire type that no generated code writes")
		}
		if fields[tag>>3] == nil {
			numbers = append(numbers, tag>>3)
		}
		fields[tag>>3] = append(fields[tag>>3], rest[:at])
		rest = rest[at:]
	}
	random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	out := make([]byte, 0, len(bytes))
	for _, number := range numbers {
		for _, field := range fields[number] {
			out = append(out, field...)
		}
	}
	return out
}
