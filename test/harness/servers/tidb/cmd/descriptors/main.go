// Command descriptors prints the protocol descriptors that generated Go sources carry, without compiling those sources: so it needs
// nothing of what they import, and a package that upstream adds is found without being named here.
//
//	descriptors FOLDER...    every *.pb.go in these folders and below
//
// Output: one binary google.protobuf.FileDescriptorSet.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// fileTag is the tag of FileDescriptorSet.file: field 1, length-delimited.
const fileTag = 1<<3 | 2

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: descriptors FOLDER...")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "descriptors:", err)
		os.Exit(1)
	}
}

func run(folders []string) error {
	var set []byte
	for _, folder := range folders {
		found := 0
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".pb.go") {
				return err
			}
			descriptor, err := descriptorOf(path)
			// Services have a file of their own beside the descriptor's in newer generators.
			if descriptor == nil && err == nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			found++
			set = binary.AppendUvarint(append(set, fileTag), uint64(len(descriptor)))
			set = append(set, descriptor...)
			return nil
		})
		if err != nil {
			return err
		}
		if found == 0 {
			return fmt.Errorf("%s: no generated descriptors in it", folder)
		}
	}
	_, err := os.Stdout.Write(set)
	return err
}

// descriptorOf gives the FileDescriptorProto in one generated file, nil when there is none. Generators write it as a variable of bytes: gzipped under the name
// fileDescriptor_… (protoc-gen-gogo), plain under …_rawDesc (protoc-gen-go 1.20 and later).
func descriptorOf(path string) ([]byte, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, declaration := range file.Decls {
		variables, ok := declaration.(*ast.GenDecl)
		if !ok || variables.Tok != token.VAR {
			continue
		}
		for _, spec := range variables.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || len(value.Names) != 1 || len(value.Values) != 1 {
				continue
			}
			literal, ok := value.Values[0].(*ast.CompositeLit)
			if !ok {
				continue
			}
			switch name := value.Names[0].Name; {
			case strings.HasPrefix(name, "fileDescriptor"):
				zipped, err := bytesOf(literal)
				if err != nil {
					return nil, err
				}
				return unzip(zipped)
			case strings.HasSuffix(name, "_rawDesc"):
				return bytesOf(literal)
			}
		}
	}
	return nil, nil
}

func bytesOf(literal *ast.CompositeLit) ([]byte, error) {
	out := make([]byte, 0, len(literal.Elts))
	for _, element := range literal.Elts {
		number, ok := element.(*ast.BasicLit)
		if !ok || number.Kind != token.INT {
			return nil, errors.New("the descriptor is not a list of numbers")
		}
		value, err := strconv.ParseUint(number.Value, 0, 8)
		if err != nil {
			return nil, err
		}
		out = append(out, byte(value))
	}
	return out, nil
}

func unzip(zipped []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
