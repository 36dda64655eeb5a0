package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// Tree lists the app's processes, parents before children. Without one it is
// empty: the app is over.
func (p *Process) Tree() ([]Proc, error) { return p.tree(), nil }

func (p *Process) tree() []Proc {
	select {
	case <-p.empty:
		return nil // the guard's number may be somebody else's
	default:
	}
	var tree []Proc
	for _, s := range below(processes(), p.guardPID) {
		if s.state != 'Z' && s.state != 'X' {
			tree = append(tree, Proc{PID: s.pid, PPID: s.ppid, Name: s.name})
		}
	}
	return tree
}

// ourBinary is the program we are, also if its file was replaced meanwhile.
func ourBinary() (string, error) { return "/proc/self/exe", nil }

// adoptOrphans makes us the parent of what a killed guard leaves behind.
func adoptOrphans() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // older systems do without
}

// endOrphans kills what a killed guard has left to us, until there is none,
// and returns how the app's first process ended if it was among them.
//
// Orphans are children of ours in a session that is not ours: the guard began
// one of its own, and who is in it cannot get back. Guards are not orphans.
func endOrphans(app int) (status syscall.WaitStatus, known bool) {
	var waited time.Duration // of what was meant: where we get no time, neither do those we kill
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		left := false
		for _, pid := range orphans() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already, or not ours to kill
			var ws syscall.WaitStatus
			got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil)
			if got == pid && err == nil && pid == app {
				status, known = ws, true
			}
			left = true
		}
		if !left || waited > killBound {
			return status, known
		}
		time.Sleep(wait)
		waited += wait
	}
}

func orphans() []int {
	self := os.Getpid()
	session, err := unix.Getsid(0)
	if err != nil {
		return nil
	}
	var pids []int
	for _, s := range processes() {
		if s.ppid == self && s.session != session && !isGuard(s) {
			pids = append(pids, s.pid)
		}
	}
	return pids
}

// isGuard reports whether a child of ours is the guard of another app, or is
// about to become one: until it has executed our binary anew it looks like us.
// A guard's zombie is its own owner's to reap.
func isGuard(s stat) bool {
	if s.pid != s.session {
		return false
	}
	line := readCommand(s.pid)
	return line == guard.Name+"\x00" || s.name == guard.Name || line == readCommand(os.Getpid())
}

func readCommand(pid int) string {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return string(line)
}

func parentOf(pid int) int {
	s, _ := readStat(pid) // gone: 0 is in no session of ours
	return s.ppid
}

// A stat is what is needed of /proc/<pid>/stat.
type stat struct {
	pid, ppid, session int
	state              byte
	name               string
	start              uint64 // ticks since the system started
}

// processes lists every process of the system.
func processes() []stat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }() // only read
	names, _ := dir.Readdirnames(-1)   // what could be read will do
	all := make([]stat, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if s, ok := readStat(pid); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

func readStat(pid int) (stat, bool) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	return parseStat(pid, line)
}

// parseStat reads "pid (name) state ppid pgrp session … starttime …"; the name
// may hold anything, brackets too.
func parseStat(pid int, line []byte) (stat, bool) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, false
	}
	fields := bytes.Fields(line[end+1:])
	if len(fields) < 20 {
		return stat{}, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(string(fields[i])) // the system writes numbers
		return n
	}
	start, _ := strconv.ParseUint(string(fields[19]), 10, 64) // the system writes numbers
	return stat{
		pid: pid, name: string(line[open+1 : end]), state: fields[0][0],
		ppid: number(1), session: number(3), start: start,
	}, true
}

// below lists the descendants of root, parents first.
func below(all []stat, root int) []stat {
	children := make(map[int][]stat, len(all))
	for _, s := range all {
		children[s.ppid] = append(children[s.ppid], s)
	}
	var tree []stat
	seen := map[int]bool{root: true}
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, s := range children[queue[0]] {
			if seen[s.pid] {
				continue // a number used anew while we read
			}
			seen[s.pid] = true
			tree = append(tree, s)
			queue = append(queue, s.pid)
		}
	}
	return tree
}
