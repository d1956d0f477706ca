package mqtt_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// An attacker is a process of its own in which an attack goes on: what is
// measured beside it is the broker, not a heap and a scheduler that it shares
// with those who attack it.
type attacker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// attackers starts this test binary again, to attack addr in the ways named,
// and returns once they are under way.
func attackers(t *testing.T, addr, name string) *attacker {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAR_ATTACK="+name, "LAR_ATTACKED="+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &attacker{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(a.stop)
	if _, err := a.out.ReadString('\n'); err != nil {
		t.Fatalf("the attack %q did not begin: %v", name, err)
	}
	return a
}

// stop ends the attack and waits until its process is gone.
func (a *attacker) stop() {
	if a.cmd == nil {
		return
	}
	a.in.Close()
	io.Copy(io.Discard, a.out)
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the attackers: %v", err)
	}
	a.cmd = nil
}

// everyAttack names all of them at once.
const everyAttack = "all"

// attackFromHere is what the process of an attacker does: it attacks until its
// standard input ends.
func attackFromHere(name, addr string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if name == everyAttack {
		fmt.Println("under way")
		many(len(attacks), func(i int) {
			for ctx.Err() == nil { // some end when the broker defends itself
				attacks[i].run(ctx, addr, func() {})
				pace(ctx, 100*time.Millisecond)
			}
		})
		return
	}
	var once sync.Once
	ready := func() { once.Do(func() { fmt.Println("under way") }) }
	for _, a := range append([]attack{busyMachine}, attacks...) {
		if a.name == name {
			a.run(ctx, addr, ready)
			ready()
			<-ctx.Done()
		}
	}
}

// busyMachine asks nothing of the broker and takes all processors: what the
// machine does to a round trip when others work on it.
var busyMachine = attack{"a busy machine", func(ctx context.Context, _ string, ready func()) {
	ready()
	many(runtime.NumCPU(), func(int) {
		for ctx.Err() == nil {
		}
	})
}}
