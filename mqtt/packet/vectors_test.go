package packet

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// read takes the packets off a stream as the broker does, up to the first that
// is refused.
func read(v Version, stream []byte, limit int) error {
	for len(stream) > 0 {
		first, body, n, err := Split(stream, limit)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("incomplete")
		}
		if Type(first>>4) == PUBLISH {
			var p Publish
			err = DecodePublish(v, first, body, &p)
		} else {
			_, err = DecodeFromClient(v, first, body)
		}
		if err != nil {
			return err
		}
		stream = stream[n:]
	}
	return nil
}

// TestVectors reads what known brokers were asked, one packet or two a line.
// "ok" stands where the codec has no objection, which leaves the matter to the
// session.
func TestVectors(t *testing.T) {
	f, err := os.Open("testdata/vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	count := 0
	for ; lines.Scan(); count++ {
		columns := strings.Split(lines.Text(), "\t")
		if len(columns) != 3 {
			t.Fatalf("line %d has %d columns, want 3", count+1, len(columns))
		}
		name, want := columns[0], columns[2]
		stream, err := hex.DecodeString(columns[1])
		if err != nil {
			t.Fatal(err)
		}
		v := V5
		if strings.HasPrefix(name, "v3.1.1") {
			v = V311
		}
		got := "ok"
		if err := read(v, stream, 128<<10); err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got = fmt.Sprintf("0x%02X %s %s", byte(e.Reason), e.Packet, e.Field)
		}
		if got != want {
			t.Errorf("%s: %x gives %s, want %s", name, stream, got, want)
		}
	}
	if count < 100 {
		t.Errorf("%d vectors, want at least 100", count)
	}
}
