package main

import (
	"context"
	"hash/crc64"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tipb/go-tipb"
)

func askChecksum(
	t *testing.T, eng *engine, client tikvpb.TikvClient, rule *tipb.ChecksumRewriteRule, start, end string,
) (*coprocessor.Response, *tipb.ChecksumResponse) {
	t.Helper()
	plan, err := (&tipb.ChecksumRequest{Algorithm: tipb.ChecksumAlgorithm_Crc64_Xor, Rule: rule}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Coprocessor(context.Background(), &coprocessor.Request{
		Context: contextOf(eng.regions, start), Tp: kv.ReqTypeChecksum, Data: plan, StartTs: 1 << 62,
		Ranges: []*coprocessor.KeyRange{{Start: []byte(start), End: []byte(end)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := &tipb.ChecksumResponse{}
	if err := sum.Unmarshal(resp.Data); err != nil {
		t.Fatal(err)
	}
	return resp, sum
}

// The sum of a tenant's rows under the rule is that of the same rows in a cluster of its own.
func TestChecksumRuleGivesTheUnsharedSum(t *testing.T) {
	eng, _, client := testStore(t)
	// Of two rows of one length the prefixes cancel out: crc is linear.
	rows := map[string]string{"row1": "one", "row2": "second"}
	var want, bytes uint64
	for rest, value := range rows {
		write(t, eng, client, tagged(1, rest), value)
		plain := tagged(0, rest) + value
		want ^= crc64.Checksum([]byte(plain), crc64.MakeTable(crc64.ECMA))
		bytes += uint64(len(plain))
	}
	write(t, eng, client, tagged(2, "row1"), "another tenant's")
	rule := &tipb.ChecksumRewriteRule{OldPrefix: []byte(tagged(0, "")), NewPrefix: []byte(tagged(1, ""))}
	_, sum := askChecksum(t, eng, client, rule, tagged(1, ""), tagged(1, "\xff"))
	if sum.Checksum != want || sum.TotalKvs != 2 || sum.TotalBytes != bytes {
		t.Errorf("%v, wanted %d over %d bytes", sum, want, bytes)
	}
	if _, plain := askChecksum(t, eng, client, nil, tagged(1, ""), tagged(1, "\xff")); plain.Checksum == want || plain.TotalKvs != 2 {
		t.Errorf("without the rule: %v", plain)
	}
	resp, _ := askChecksum(t, eng, client, rule, tagged(1, ""), tagged(2, "\xff"))
	if !strings.Contains(resp.OtherError, "Wrong prefix") {
		t.Errorf("a key beyond the rule's prefix: %v", resp)
	}
	if resp, none := askChecksum(t, eng, client, nil, tagged(5, ""), tagged(5, "\xff")); resp.OtherError != "" || none.Checksum != 0 {
		t.Errorf("nothing: %v %v", resp, none)
	}
}

func TestChecksumMeetsLocks(t *testing.T) {
	eng, _, client := testStore(t)
	lockKeys(t, eng, client, 5, tagged(1, "a"))
	resp, _ := askChecksum(t, eng, client, nil, tagged(1, ""), tagged(1, "\xff"))
	if string(resp.Locked.GetKey()) != tagged(1, "a") {
		t.Fatal(resp)
	}
}
