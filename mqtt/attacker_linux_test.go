package mqtt_test

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// leaveProcessors has this process run only while nobody else wants to.
func leaveProcessors() error {
	const idle = 5 // SCHED_IDLE, sched(7)
	var priority int32
	done := make(map[string]bool)
	for news := true; news; { // what one of these begins inherits it
		news = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			if done[t.Name()] {
				continue
			}
			done[t.Name()], news = true, true
			id, _ := strconv.Atoi(t.Name())
			_, _, errno := syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), idle, uintptr(unsafe.Pointer(&priority)))
			if errno != 0 && errno != syscall.ESRCH {
				return fmt.Errorf("scheduling: %w", errno)
			}
		}
	}
	return nil
}
