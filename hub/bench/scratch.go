package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// A Hub is a lar that was started to be measured, on ports of the loopback
// interface that nobody else has.
type Hub struct {
	Target Target
	Web    string // URL of the pages

	binary string
	args   []string
	cmd    *exec.Cmd
	said   bytes.Buffer // to stderr; read it when the process has ended
}

// StartHub runs the lar at binary on the data folder dir, with more flags.
func StartHub(binary, dir string, more ...string) (*Hub, error) {
	h := &Hub{binary: binary, args: append([]string{"--data", dir, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--mdns=false", "--log-level", "error"}, more...)}
	_, err := h.Start()
	return h, err
}

// Start starts the hub again after Kill.
func (h *Hub) Start() (Target, error) {
	h.said.Reset()
	h.cmd = exec.Command(h.binary, h.args...)
	h.cmd.Stderr = &h.said
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return h.Target, err
	}
	if err := h.cmd.Start(); err != nil {
		return h.Target, err
	}
	late := time.AfterFunc(patience, func() { h.cmd.Process.Kill() })
	defer late.Stop()
	addr, web := "", ""
	s := bufio.NewScanner(out)
	for (addr == "" || web == "") && s.Scan() {
		if a, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "MQTT address"); ok {
			addr = strings.TrimSpace(a)
		}
		if a, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "Open in a browser"); ok {
			web = strings.TrimSpace(a)
		}
	}
	if addr == "" || web == "" {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		return h.Target, fmt.Errorf("the hub does not start: %s", strings.TrimSpace(h.said.String()))
	}
	go io.Copy(io.Discard, out)
	h.Target.Addr, h.Target.PID, h.Web = addr, h.cmd.Process.Pid, web
	return h.Target, nil
}

// Kill ends the hub as a power cut does, as far as a process can be.
func (h *Hub) Kill() error {
	if err := h.cmd.Process.Kill(); err != nil {
		return err
	}
	if err := h.cmd.Wait(); err != nil && !isExit(err) {
		return err
	}
	return nil
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}
