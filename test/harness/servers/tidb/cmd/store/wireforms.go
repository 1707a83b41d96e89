package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"

	"github.com/golang/protobuf/proto"
)

// answerWireForms shows how the store encodes messages, so that a test can hold it against TiKV's own encoder. Each line
// is `MESSAGE HEX`, as for ../../../wire-forms; each answer is `ok HEX` or `no REASON`.
func answerWireForms(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, math.MaxInt32)
	writer := bufio.NewWriter(out)
	for lines.Scan() {
		written, err := wireFormAgain(lines.Text())
		if err != nil {
			fmt.Fprintln(writer, "no", err)
		} else {
			fmt.Fprintf(writer, "ok %x\n", written)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return writer.Flush()
}

func wireFormAgain(line string) ([]byte, error) {
	name, text, _ := strings.Cut(line, " ")
	bytes, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	known := proto.MessageType(name)
	if known == nil {
		return nil, fmt.Errorf("there is no %s", name)
	}
	message := reflect.New(known.Elem()).Interface().(proto.Message)
	if err := proto.Unmarshal(bytes, message); err != nil {
		return nil, err
	}
	written, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	return rustForm(message, written)
}
