package main

import (
	"reflect"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// abort puts a text where the answer has its own error, as TiKV does for what is neither a region's nor a lock's fault:
// a KeyError's abort, or a string. It says whether the answer has such a place.
func abort(answer any, text string) bool {
	value := reflect.ValueOf(answer).Elem()
	for _, name := range []string{"Error", "Errors", "OtherError", "Pairs", "Kvs"} {
		field := value.FieldByName(name)
		if !field.IsValid() {
			continue
		}
		failure := &kvrpcpb.KeyError{Abort: text}
		switch field.Interface().(type) {
		case string:
			field.SetString(text)
		case *kvrpcpb.KeyError:
			field.Set(reflect.ValueOf(failure))
		case []*kvrpcpb.KeyError:
			field.Set(reflect.ValueOf([]*kvrpcpb.KeyError{failure}))
		case []*kvrpcpb.KvPair:
			field.Set(reflect.ValueOf([]*kvrpcpb.KvPair{{Error: failure}}))
		default:
			continue
		}
		return true
	}
	return false
}
