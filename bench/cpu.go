package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// cpuOf is the CPU time that a contestant's process and its children have used,
// to a hundredth of a second.
func (w *world) cpuOf(name string) (time.Duration, error) {
	p, err := w.process(name)
	if err != nil {
		return 0, err
	}
	return cpuTree(p.Pid)
}

func cpuTree(pid int) (time.Duration, error) {
	src, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc(5): behind the name, which is in parentheses, the state is the third field.
	fields := strings.Fields(string(src[strings.LastIndexByte(string(src), ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	var ticks int64
	for _, f := range fields[11:15] { // utime, stime, and those of children that have ended
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	total := time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	for _, t := range threads {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return 0, err
			}
			if more, err := cpuTree(n); err == nil {
				total += more
			}
		}
	}
	return total, nil
}
