package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	window      = 1 << 30
	frameBytes  = 1 << 20
	bufferBytes = 1 << 18
	prefixBytes = 5
	// peerFrameBytes is what a peer takes that says nothing else.
	peerFrameBytes = 1 << 14
)

// block encodes headers without a table that changes, so that one block serves every stream.
func block(fields ...[2]string) []byte {
	var out bytes.Buffer
	encoder := hpack.NewEncoder(&out)
	encoder.SetMaxDynamicTableSize(0)
	for _, field := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true})
	}
	return out.Bytes()
}

// messages counts the gRPC messages in pieces of one stream's body.
type messages struct {
	header [prefixBytes]byte
	have   int
	rest   int
}

// add takes a piece and tells how many messages end in it.
func (m *messages) add(piece []byte) int {
	ended := 0
	for len(piece) > 0 {
		if m.have < prefixBytes {
			n := copy(m.header[m.have:], piece)
			m.have += n
			piece = piece[n:]
			if m.have < prefixBytes {
				return ended
			}
			m.rest = int(binary.BigEndian.Uint32(m.header[1:]))
		}
		n := min(m.rest, len(piece))
		m.rest -= n
		piece = piece[n:]
		if m.rest == 0 {
			ended++
			m.have = 0
		}
	}
	return ended
}

func serve(listen string, canned answers) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := answerAll(conn, canned); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "load:", err)
			}
		}()
	}
}

type inbound struct {
	answer  []byte
	counted messages
	began   bool
}

func answerAll(conn net.Conn, canned answers) error {
	reader := bufio.NewReaderSize(conn, bufferBytes)
	writer := bufio.NewWriterSize(conn, bufferBytes)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(reader, preface); err != nil {
		return err
	}
	framer := http2.NewFramer(writer, reader)
	framer.SetReuseFrames()
	framer.SetMaxReadFrameSize(frameBytes)
	if err := framer.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1 << 20},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: frameBytes},
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0},
	); err != nil {
		return err
	}
	if err := framer.WriteWindowUpdate(0, window); err != nil {
		return err
	}
	head := block([2]string{":status", "200"}, [2]string{"content-type", "application/grpc"})
	tail := block([2]string{"grpc-status", "0"})
	streams := map[uint32]*inbound{}
	path := ""
	decoder := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == ":path" {
			path = field.Value
		}
	})
	consumed := 0
	for {
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = framer.WritePing(true, f.Data)
			}
		case *http2.HeadersFrame:
			if s := streams[f.StreamID]; s != nil {
				err = finish(framer, streams, f.StreamID, tail)
				break
			}
			if _, err = decoder.Write(f.HeaderBlockFragment()); err == nil {
				err = decoder.Close()
			}
			if err == nil {
				answer, known := canned[path]
				if !known {
					return fmt.Errorf("no answer for %s", path)
				}
				streams[f.StreamID] = &inbound{answer: answer}
			}
		case *http2.DataFrame:
			consumed += int(f.Length)
			if consumed > window/2 {
				if err = framer.WriteWindowUpdate(0, uint32(consumed)); err != nil {
					return err
				}
				consumed = 0
			}
			s := streams[f.StreamID]
			if s == nil {
				continue
			}
			for n := s.counted.add(f.Data()); n > 0 && err == nil; n-- {
				if !s.began {
					s.began = true
					err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: head, EndHeaders: true})
				}
				for rest := s.answer; len(rest) > 0 && err == nil; {
					piece := rest[:min(len(rest), peerFrameBytes)]
					rest = rest[len(piece):]
					err = framer.WriteData(f.StreamID, false, piece)
				}
			}
			if err == nil && f.StreamEnded() {
				err = finish(framer, streams, f.StreamID, tail)
			}
		case *http2.RSTStreamFrame:
			delete(streams, f.StreamID)
		}
		if err != nil {
			return err
		}
	}
}

func finish(framer *http2.Framer, streams map[uint32]*inbound, id uint32, tail []byte) error {
	delete(streams, id)
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: tail, EndHeaders: true, EndStream: true})
}
