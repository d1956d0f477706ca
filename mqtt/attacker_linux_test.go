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
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks { // those that come later inherit it
		id, _ := strconv.Atoi(t.Name())
		if _, _, errno := syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), idle, uintptr(unsafe.Pointer(&priority))); errno != 0 {
			return fmt.Errorf("scheduling: %w", errno)
		}
	}
	return nil
}
