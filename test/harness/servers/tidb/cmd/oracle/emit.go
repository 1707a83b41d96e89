package main

import (
	"bufio"
	"encoding/json"
	"io"
	"slices"
)

// Outcomes that are not bytes.
const (
	// The filter turns the request away, or breaks off at the answer.
	refused = "refused"
	// Upstream gives up the whole message with an error.
	failed = "failed"
	// The filter does not let the method through at all, so there is nothing to compare.
	noMethod = "no method"
	// The filter lets the method through without reading its messages.
	unread = "unread"
)

// record is one case. Bytes are protobuf messages, base64 on the wire.
type record struct {
	// Command is upstream's name for the request, Case its number: both with the seed make the case again.
	Command string `json:"command"`
	Case    int    `json:"case"`
	// Path is the gRPC method, Message the full name of the message's type.
	Path    string `json:"path"`
	Message string `json:"message"`
	Way     string `json:"way"`
	// In is what the filter is given: a client's request or the store's answer.
	In []byte `json:"in"`
	// Out is what it must make of it. Empty where Outcome says otherwise.
	Out     []byte `json:"out"`
	Outcome string `json:"outcome,omitempty"`
	// Upstream is what upstream makes of it where that is something else: "failed" or bytes.
	Upstream        []byte `json:"upstream,omitempty"`
	UpstreamOutcome string `json:"upstreamOutcome,omitempty"`
	// Differences are the ids of the listed differences between Out and Upstream.
	Differences []string `json:"differences,omitempty"`
}

type emitter struct {
	buffer  *bufio.Writer
	encoder *json.Encoder
	err     error
}

func newEmitter(to io.Writer) *emitter {
	buffer := bufio.NewWriterSize(to, 1<<20)
	return &emitter{buffer: buffer, encoder: json.NewEncoder(buffer)}
}

func (e *emitter) emit(value any) {
	if e.err == nil {
		e.err = e.encoder.Encode(value)
	}
}

func (e *emitter) close() error {
	if e.err != nil {
		return e.err
	}
	return e.buffer.Flush()
}

// notes collects ids of differences, each once.
type notes []string

func (n *notes) add(id string) {
	if !slices.Contains(*n, id) {
		*n = append(*n, id)
	}
}
