package guard

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	getTermios = syscall.TIOCGETA
	setTermios = syscall.TIOCSETA
)

// become does nothing: macOS has no name to set and no subreaper.
func become(string) {}

// dieWithUs does nothing: macOS has no such signal. If the guard alone is
// killed, pillion notices and kills what it can list.
func dieWithUs(*syscall.SysProcAttr) {}

func controlTerminal(fd uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCSCTTY, 0)
	return errno
}

// family lists the app's tree and its process group. It must be listed before
// anything is killed: an orphan goes to launchd, and one in a group of its own
// is then lost.
func family(app int) []int {
	var tree []int
	parents := map[int]bool{os.Getpid(): true}
	rows := processes()
	for grown := true; grown; {
		grown = false
		for _, row := range rows {
			pid, ppid, group := row[0], row[1], row[2]
			if pid == os.Getpid() || slices.Contains(tree, pid) || !parents[ppid] && group != app {
				continue
			}
			tree = append(tree, pid)
			parents[pid] = true
			grown = true
		}
	}
	return tree
}

// processes asks ps for the pid, parent and group of every process.
func processes() [][3]int {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer func() { _ = r.Close() }() // only read
	pid, err := syscall.ForkExec("/bin/ps", []string{"ps", "-axo", "pid=,ppid=,pgid="}, &syscall.ProcAttr{
		Files: []uintptr{r.Fd(), w.Fd(), w.Fd()},
	})
	_ = w.Close() // ps's now
	if err != nil {
		return nil
	}
	var rows [][3]int
	for line := range strings.Lines(readAll(r)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		var row [3]int
		for i := range row {
			row[i], _ = strconv.Atoi(fields[i]) // ps prints numbers
		}
		if row[0] != pid {
			rows = append(rows, row)
		}
	}
	return rows
}

// readAll reads at most a megabyte: some ten thousand processes.
func readAll(f *os.File) string {
	const bound = 1 << 20
	var all []byte
	b := make([]byte, 32<<10)
	for len(all) < bound {
		n, err := f.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			break
		}
	}
	return string(all)
}
