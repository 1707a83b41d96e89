package main

import (
	"fmt"
	"sync"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// wireFormat is how answers lie on the wire: as Go writes them, or as TiKV does.
type wireFormat string

const (
	wireGo   wireFormat = "go"
	wireTiKV wireFormat = "tikv"
)

func (w wireFormat) known() bool { return w == wireGo || w == wireTiKV }

// tikvCodec is gRPC's codec for a server that answers as TiKV does. Requests come in any form.
type tikvCodec struct{ encoding.Codec }

func (c tikvCodec) Marshal(message any) ([]byte, error) {
	bytes, err := c.Codec.Marshal(message)
	if err != nil {
		return nil, err
	}
	return rustForm(message.(proto.Message), bytes)
}

// rustForm gives the same message as rust-protobuf 2.8 writes it, TiKV's encoder:
//
//	numbers of a list one by one, whatever proto3 says of packing (none of kvproto's fields asks for it)
//	fields in the order of their declarations, alternatives of a oneof behind them, unknown fields last
//	no defaults of proto3, but messages that are there and empty
//
// test/oracle/wire-forms.test.ts holds it against rust-protobuf itself. What it does not follow: rust-protobuf takes an enum's
// value that it does not know for an unknown field, and unknown fields have no order there.
func rustForm(message proto.Message, bytes []byte) ([]byte, error) {
	name := protoreflect.FullName(proto.MessageName(message))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, fmt.Errorf("the descriptor of %s: %w", name, err)
	}
	out, ok := formOf(found.(protoreflect.MessageDescriptor)).rewrite(make([]byte, 0, len(bytes)+len(bytes)/8), bytes)
	if !ok {
		return nil, fmt.Errorf("Go wrote a %s that cannot be read", name)
	}
	return out, nil
}

// rustMessage is what has to be known of a message type to write it so.
type rustMessage struct {
	fields map[protowire.Number]rustField
	places int
}

type rustField struct {
	// Of the field among its message's.
	place int
	// How each number of a list is written; -1 for all others.
	number protowire.Type
	// Left out when it is zero or empty.
	hidesDefault bool
	// Nil but for messages.
	message *rustMessage
}

var rustMessages = struct {
	sync.Mutex
	known map[protoreflect.FullName]*rustMessage
}{known: map[protoreflect.FullName]*rustMessage{}}

func formOf(message protoreflect.MessageDescriptor) *rustMessage {
	rustMessages.Lock()
	defer rustMessages.Unlock()
	return learnForm(message)
}

// learnForm is for whoever holds the lock.
func learnForm(message protoreflect.MessageDescriptor) *rustMessage {
	if known := rustMessages.known[message.FullName()]; known != nil {
		return known
	}
	form := &rustMessage{fields: map[protowire.Number]rustField{}}
	// Before its fields: a message may hold itself.
	rustMessages.known[message.FullName()] = form
	add := func(field protoreflect.FieldDescriptor) {
		known := rustField{place: form.places, number: -1, hidesDefault: !field.HasPresence() && !field.IsList()}
		switch {
		case field.Message() != nil:
			known.message = learnForm(field.Message())
		case field.IsList():
			known.number = numberType(field.Kind())
		}
		form.fields[field.Number()] = known
		form.places++
	}
	var alternatives []protoreflect.FieldDescriptor
	for i := range message.Fields().Len() {
		if field := message.Fields().Get(i); field.ContainingOneof() == nil {
			add(field)
		} else {
			alternatives = append(alternatives, field)
		}
	}
	for _, field := range alternatives {
		add(field)
	}
	return form
}

// numberType is the wire type of one number; -1 for what is never packed.
func numberType(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return -1
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	}
	return protowire.VarintType
}

// rewrite appends the message to out; false when it is none.
func (m *rustMessage) rewrite(out, bytes []byte) ([]byte, bool) {
	// By place; unknown fields behind all.
	parts := make([][]byte, m.places+1)
	for len(bytes) > 0 {
		number, wire, size := protowire.ConsumeTag(bytes)
		if size < 0 {
			return nil, false
		}
		length := protowire.ConsumeFieldValue(number, wire, bytes[size:])
		if length < 0 {
			return nil, false
		}
		whole, value := bytes[:size+length], bytes[size:size+length]
		bytes = bytes[size+length:]
		field, known := m.fields[number]
		if !known {
			parts[m.places] = append(parts[m.places], whole...)
			continue
		}
		part := parts[field.place]
		switch {
		case field.message != nil && wire == protowire.BytesType:
			content, _ := protowire.ConsumeBytes(value)
			inner, ok := field.message.rewrite(nil, content)
			if !ok {
				return nil, false
			}
			part = protowire.AppendBytes(protowire.AppendTag(part, number, wire), inner)
		case field.number >= 0 && wire == protowire.BytesType:
			content, _ := protowire.ConsumeBytes(value)
			for len(content) > 0 {
				length := protowire.ConsumeFieldValue(number, field.number, content)
				if length < 0 {
					return nil, false
				}
				part = append(protowire.AppendTag(part, number, field.number), content[:length]...)
				content = content[length:]
			}
		case field.hidesDefault && isZero(value):
		default:
			part = append(part, whole...)
		}
		parts[field.place] = part
	}
	for _, part := range parts {
		out = append(out, part...)
	}
	return out, true
}

// isZero is true for 0 of every number's wire type, and for the length of nothing.
func isZero(value []byte) bool {
	for _, b := range value {
		if b != 0 {
			return false
		}
	}
	return true
}
