package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

const killDir = "LAR_STORE_TEST_KILL"

// TestMain runs this binary as the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// In the folder of TestKill, turn n sets "turn" to n, adds a record of its own
// that names it, and deletes that of turn n-50: after any whole turn, what
// there is follows from n.
func killTurn(n uint64) []mqtt.Write {
	writes := []mqtt.Write{
		{Key: []byte("turn"), Value: binary.BigEndian.AppendUint64(nil, n)},
		{Key: killKey(n), Value: killValue(n)},
	}
	if n > 50 {
		writes = append(writes, mqtt.Write{Key: killKey(n - 50)})
	}
	return writes
}

func killKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("k"), n) }

func killValue(n uint64) []byte {
	v := make([]byte, 100+n%400)
	if n%100 == 0 {
		v = make([]byte, bigValue+n%1000)
	}
	noise := noise(n + 1)
	noise.Read(v)
	return v
}

// writeUntilKilled goes on where the folder ends and prints the number of each
// turn that is durable.
func writeUntilKilled(dir string) {
	s, err := Open(Options{Dir: dir, Space: Space{Ballast: -1}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	next, err := killCheck(s)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open", next)
	durable := make(chan uint64, 100)
	s.Durable(func(n uint64) { durable <- n })
	n := next
	for last := n; ; {
		for n < last+40 {
			n++
			s.Submit(n, killTurn(n), n%3 > 0)
			s.Lazy([]mqtt.Write{{Key: []byte("lazy"), Value: binary.BigEndian.AppendUint64(nil, n)}})
		}
		last = <-durable
		fmt.Println(last)
	}
}

// killCheck returns the turn that the folder shows, if it shows one whole.
func killCheck(s *Store) (turn uint64, err error) {
	s.Scan([]byte("turn"), nil, func(_, v []byte) bool { turn = binary.BigEndian.Uint64(v); return false })
	n := turn - min(turn, 50)
	s.Scan([]byte("k"), nil, func(k, v []byte) bool {
		n++
		if string(k) != string(killKey(n)) || string(v) != string(killValue(n)) {
			err = fmt.Errorf("at turn %d, record %x is wrong or not the %dth", turn, k, n)
		}
		return err == nil
	})
	if err == nil && n != turn {
		err = fmt.Errorf("at turn %d, records end with %d", turn, n)
	}
	s.Scan([]byte("lazy"), nil, func(_, v []byte) bool {
		if lazy := binary.BigEndian.Uint64(v); lazy > turn {
			err = fmt.Errorf("at turn %d, the lazy write of turn %d is there", turn, lazy)
		}
		return false
	})
	if st := s.Stats(); err == nil && (st.Damaged > 0 || len(s.SetAside()) > 0) {
		err = fmt.Errorf("%d damaged records, set aside %v", st.Damaged, s.SetAside())
	}
	return turn, err
}

// TestKill kills a process that writes, at random moments, and looks at what
// it left: a whole turn, no earlier than the last one that it was told of.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	acknowledged := uint64(0)
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// In every third round from the start on, else once it is open.
		killer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		if round%3 == 0 {
			killer.Reset(time.Duration(random.IntN(300)) * time.Millisecond)
		}
		for line := bufio.NewScanner(out); line.Scan(); {
			text, opened := strings.CutPrefix(line.Text(), "open ")
			if opened && round%3 > 0 {
				killer.Reset(time.Duration(random.IntN(400)) * time.Millisecond)
			}
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Errorf("round %d: %s\n%s", round, text, log.String())
			} else if n < acknowledged {
				t.Errorf("round %d: turn %d comes after %d was acknowledged", round, n, acknowledged)
			} else {
				acknowledged = n
			}
		}
		io.Copy(io.Discard, out)
		cmd.Wait()
		killer.Stop()
		if t.Failed() {
			return
		}
	}
	s := open(t, testOptions(t, dir))
	turn, err := killCheck(s)
	if err != nil || turn < acknowledged {
		t.Errorf("in the end the folder shows turn %d, %v; %d was acknowledged", turn, err, acknowledged)
	}
	if acknowledged == 0 {
		t.Error("nothing was written")
	}
	t.Logf("%d turns acknowledged", acknowledged)
	s.Close(context.Background())
}
