//go:build unix

package cmd

import (
	"fmt"
	"syscall"
)

func sendSignal(pid int, name string) error {
	signals := map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP,
	}
	s, ok := signals[name]
	if !ok {
		return fmt.Errorf("no signal %s", name)
	}
	return syscall.Kill(pid, s)
}

// ownTerminal makes the standard input of a command its controlling terminal,
// as a terminal window does.
func ownTerminal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Setctty: true}
}
