package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// Sockets lists the TCP sockets the app's tree listens on, in the order its
// processes come in Tree. A socket that several processes share is listed
// once. It reads /proc: some milliseconds.
func (p *Process) Sockets() ([]Socket, error) {
	tree := p.tree()
	if len(tree) == 0 {
		return nil, nil
	}
	listening, err := listeners(p.pid)
	if err != nil {
		listening, err = listeners(0) // the first process may be gone
	}
	if err != nil {
		return nil, err
	}
	var found []Socket
	for _, proc := range tree {
		for _, inode := range socketsOf(proc.PID) {
			l, ok := listening[inode]
			if !ok {
				continue
			}
			delete(listening, inode)
			found = append(found, Socket{Addr: l.addr, PID: proc.PID, Name: proc.Name})
		}
	}
	return found, nil
}

// HolderOf says which process of this machine listens on a TCP port, at
// whatever address.
func HolderOf(port uint16) (Holder, bool) {
	listening, err := listeners(0)
	if err != nil {
		return Holder{}, false
	}
	uid := -1
	wanted := map[uint64]bool{}
	for inode, l := range listening {
		if l.addr.Port() == port {
			wanted[inode] = true
			uid = l.uid
		}
	}
	if len(wanted) == 0 {
		return Holder{}, false
	}
	for _, s := range processes() {
		for _, inode := range socketsOf(s.pid) {
			if wanted[inode] {
				return holder(s, listening[inode].uid), true
			}
		}
	}
	return Holder{UID: uid}, true
}

func holder(s stat, uid int) Holder {
	h := Holder{PID: s.pid, UID: uid, Name: s.name, Since: started(s)}
	dir := "/proc/" + strconv.Itoa(s.pid)
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 { //nolint:gosec // a number
		h.Command = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	h.Folder, _ = os.Readlink(dir + "/cwd") // another user's cannot be read
	return h
}

// ticks a second in /proc, on every Linux Go runs on.
const ticks = 100

// started is when a process was started.
func started(s stat) time.Time {
	all, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range bytes.Lines(all) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			boot, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			if err != nil {
				break
			}
			return time.Unix(boot, 0).Add(time.Duration(s.start) * (time.Second / ticks)) //nolint:gosec // centuries
		}
	}
	return time.Time{}
}

// socketsOf lists the inodes of a process's sockets; none if it is not ours to
// look into.
func socketsOf(pid int) []uint64 {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	f, err := os.Open(dir) //nolint:gosec // a number
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	names, _ := f.Readdirnames(-1)   // what could be read will do
	var inodes []uint64
	for _, name := range names {
		target, err := os.Readlink(dir + name)
		if err != nil {
			continue
		}
		if rest, ok := strings.CutPrefix(target, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64); err == nil {
				inodes = append(inodes, inode)
			}
		}
	}
	return inodes
}
