package mqtt_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An attacker is a process of its own in which an attack goes on: what is
// measured beside it is the broker, not a heap and a scheduler that it shares
// with those who attack it. Attackers have machines of their own: here they do not
// compete for the processors, and take what the others leave.
type attacker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	rounds int // of the attack, once it has been stopped
}

// attackers starts this test binary again, to attack addr in the way named,
// and returns once that is under way.
func attackers(t *testing.T, addr, name string) *attacker {
	t.Helper()
	return attackersIn(t, nil, addr, name, func(int) {})
}

// attackersIn is attackers with what is special of their process, for which
// prepare makes ready.
func attackersIn(t *testing.T, attr *syscall.SysProcAttr, addr, name string, prepare func(pid int)) *attacker {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.SysProcAttr = attr
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
	prepare(cmd.Process.Pid)
	a.say("go")
	if line, err := a.out.ReadString('\n'); line != underWay+"\n" {
		t.Fatalf("the attack %q did not begin: %s%v", name, line, err)
	}
	return a
}

// say tells the attackers something.
func (a *attacker) say(what string) { fmt.Fprintln(a.in, what) }

// What attackers say once they are under way, and at the end.
const (
	underWay   = "under way"
	roundsSaid = "%d rounds"
)

// stop ends the attack and waits until its process is gone.
func (a *attacker) stop() {
	if a.cmd == nil {
		return
	}
	a.in.Close()
	last, _ := io.ReadAll(a.out)
	fmt.Sscanf(string(last), roundsSaid, &a.rounds)
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the attackers: %v", err)
	}
	a.cmd = nil
}

// everyAttack names all of them at once.
const everyAttack = "all"

// attackFromHere is what the process of attackers does: it begins when it is
// told something, and goes on until its standard input ends.
func attackFromHere(name, addr string) {
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan string)
	end := func() { fmt.Printf(roundsSaid+"\n", rounds.Load()) }
	go func() {
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			told <- s.Text()
		}
		close(told)
		cancel()
		time.AfterFunc(5*time.Second, func() { // for those that do not see that it is over, as they write
			end()
			os.Exit(0)
		})
	}()
	<-told
	var once sync.Once
	ready := func() { once.Do(func() { fmt.Println(underWay) }) }
	if fn := neighbours[name]; fn != nil {
		fn(addr, ready, told)
		return
	}
	if err := leaveProcessors(); err != nil {
		fmt.Println(err)
		return
	}
	defer end()
	if name == everyAttack {
		ready()
		many(len(attacks), func(i int) {
			for ctx.Err() == nil { // some end when the broker defends itself
				attacks[i].run(ctx, addr, func() {})
				pace(ctx, 100*time.Millisecond)
			}
		})
		return
	}
	for _, a := range attacks {
		if a.name == name {
			a.run(ctx, addr, ready)
			if ctx.Err() == nil {
				once.Do(func() { fmt.Println("the house does not let us in") })
			}
			<-ctx.Done()
		}
	}
}

// neighbours are processes that do what they are told.
var neighbours = make(map[string]func(addr string, ready func(), told <-chan string))
