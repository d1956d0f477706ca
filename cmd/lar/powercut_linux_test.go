package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lar.home/mqtt/packet"
)

// A fragile disk is an ext4 file system in an image whose content at any
// instant can be had: what reached the device then, and nothing that was still
// on its way through the page cache.
//
// The image lies on a file system of its own (outer), which is frozen for the
// copy: from one write request to the next the device stands still, in the
// middle of a sync too. A plain copy would show a device that never was, its
// beginning older than its end.
type fragileDisk struct {
	t     *testing.T
	outer string // where the outer file system is mounted
	image string
	dir   string // where the inner one is mounted
}

// fragileSize leaves more room than the space guard asks for, and less than it
// wants for a ballast, which would be in the way of quick copies.
const fragileSize = 176 << 20

func newFragileDisk(t *testing.T) *fragileDisk {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "only root can mount a disk image")
	}
	base := t.TempDir()
	d := &fragileDisk{t: t, outer: filepath.Join(base, "outer"), dir: filepath.Join(base, "disk")}
	d.image = filepath.Join(d.outer, "image")
	outside := filepath.Join(base, "outside")
	for _, dir := range []string{d.outer, d.dir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	format(t, outside, 2*fragileSize, "-O", "^has_journal")
	mountImage(t, outside, d.outer)
	format(t, d.image, fragileSize)
	mountImage(t, d.image, d.dir)
	return d
}

func format(t *testing.T, image string, size int64, args ...string) {
	t.Helper()
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	must(t, "mkfs.ext4", append(args, "-q", "-F", image)...)
}

// mountImage mounts an image until the end of the test.
func mountImage(t *testing.T, image, dir string) {
	t.Helper()
	must(t, "mount", "-o", "loop,noatime", image, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

func must(t *testing.T, command string, args ...string) {
	t.Helper()
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", command, args, err, out)
	}
}

// The requests of ioctl that freeze and thaw a file system, linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// freeze has the disk take nothing and answer nothing until thaw.
func (d *fragileDisk) freeze() (thaw func()) {
	d.t.Helper()
	outer, err := os.Open(d.outer)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(outer.Fd()), fiFreeze, 0); err != nil {
		d.t.Fatalf("freeze the image: %v", err)
	}
	return func() {
		d.t.Helper()
		defer outer.Close()
		if err := unix.IoctlSetInt(int(outer.Fd()), fiThaw, 0); err != nil {
			d.t.Fatalf("thaw the image: %v", err)
		}
	}
}

// cut cuts the power of the disk and of the hub, and lets the disk come back
// with what had reached it.
func (d *fragileDisk) cut(h *running) {
	t := d.t
	t.Helper()
	thaw := d.freeze()
	survives := filepath.Join(filepath.Dir(d.outer), "survives")
	out, copied := exec.Command("cp", "--sparse=always", d.image, survives).CombinedOutput()
	// Dead before anything moves again: it cannot acknowledge what comes
	// after the copy.
	killed := h.cmd.Process.Signal(syscall.SIGKILL)
	thaw()
	h.cmd.Wait()
	if copied != nil || killed != nil {
		t.Fatalf("copy the image: %v, %v\n%s", copied, killed, out)
	}
	if err := unix.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
	must(t, "cp", "--sparse=always", survives, d.image)
	must(t, "mount", "-o", "loop,noatime", d.image, d.dir)
}

// mend does what somebody does with a disk that has become read-only.
func (d *fragileDisk) mend() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatal(err)
	}
	out, err := exec.Command("e2fsck", "-f", "-y", d.image).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() > 1) { // 1: errors were corrected
		d.t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	must(d.t, "mount", "-o", "loop,noatime", d.image, d.dir)
}

// TestPowerCut cuts the power of the hub and its disk. LAR_CUTS sets how many
// times.
func TestPowerCut(t *testing.T) {
	disk := newFragileDisk(t)
	manyStorms(t, times("LAR_CUTS", 3), filepath.Join(disk.dir, "data"), disk.cut)
}

// TestPowerCutUnsynced is the counter-proof: with --sync never the same cuts
// lose what was acknowledged, so TestPowerCut would see it. Lar starts anyway.
func TestPowerCutUnsynced(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range 5 {
		disk := newFragileDisk(t)
		dir := filepath.Join(disk.dir, "data")
		s := newStorm()
		h := start(t, dir, "--sync", "never")
		s.settle(t, h.mqtt)
		err := s.until(h.mqtt, r, func() { disk.cut(h) })
		if err == nil {
			h = start(t, dir, "--sync", "never")
			err = s.finish(h.mqtt)
			h.stop(syscall.SIGTERM)
		}
		if err != nil && !errors.Is(err, errLaw) {
			t.Fatal(err)
		}
		if broken := s.judge(t); err != nil || len(broken) > 0 {
			t.Logf("as it should be: %v, %v", err, broken)
			return
		}
	}
	t.Error("nothing was lost although nothing was synced: the cuts do not cut")
}

// TestPowerCutInterval cuts the power of a hub that syncs ten times a second:
// what was acknowledged a moment before is there.
func TestPowerCutInterval(t *testing.T) {
	t.Parallel() // it waits most of the time
	disk := newFragileDisk(t)
	dir := filepath.Join(disk.dir, "data")
	h := start(t, dir, "--sync", "interval")
	for round := range 2 {
		want := fmt.Sprint("kept ", round)
		if got := answer(talk(t, h.mqtt, packet.V5, "sensor"), want); got >= 0x80 {
			t.Fatalf("PUBLISH is answered %v", got)
		}
		<-time.After(3 * time.Second) // a tenth, and a busy machine
		disk.cut(h)
		h = start(t, dir, "--sync", "interval")
		if got := talk(t, h.mqtt, packet.V5, "listener").retained(); got != want {
			t.Errorf("the retained message came back as %q, want %q", got, want)
		}
	}
	h.stop(syscall.SIGTERM)
}
