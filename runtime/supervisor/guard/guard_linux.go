package guard

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const (
	getTermios = syscall.TCGETS
	setTermios = syscall.TCSETS

	prSetName           = 15
	prSetChildSubreaper = 36
)

// become gives the guard its name and makes it the parent of every orphan of
// the app.
func become(name string) {
	b := append([]byte(name), 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetName, uintptr(unsafe.Pointer(&b[0])), 0) //nolint:gosec // as the call wants it
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
}

// dieWithUs has the kernel kill the app when the guard is killed.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

func controlTerminal(fd uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCSCTTY, 0)
	return errno
}

// family lists the guard's children: the app and every orphan of its tree.
func family(int) []int {
	self := os.Getpid()
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }() // only read
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var children []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if parent(name) == self {
			children = append(children, pid)
		}
	}
	return children
}

// parent reads a process's parent from its stat line: "pid (name) state ppid …",
// where the name may hold anything.
func parent(pid string) int {
	stat, err := os.ReadFile("/proc/" + pid + "/stat") //nolint:gosec // a number
	if err != nil {
		return 0
	}
	line := string(stat)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1]) // 0 is nobody's child of ours
	return ppid
}
