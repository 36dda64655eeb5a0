package resident

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// A mapping is a range of addresses that a file is mapped to.
type mapping struct {
	from, to  uintptr
	perms     string // such as r-xp
	file      string
	rss       int // KiB in memory
	anonymous int // KiB that have been written to and are not the file's any more
}

func trim() {
	for _, m := range program() {
		// What was written to, as a dynamic linker does, would be lost.
		if m.anonymous == 0 && !strings.Contains(m.perms, "w") {
			// An error costs memory and nothing else.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
		}
	}
}

// program are the mappings of the program's own file; none if they cannot be
// read.
func program() []mapping {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil
	}
	defer func() { _ = smaps.Close() }() // only read
	var own []mapping
	for _, m := range parse(smaps) {
		if m.file == exe {
			own = append(own, m)
		}
	}
	return own
}

// parse reads smaps as proc_pid_smaps(5) describes it: a line for a mapping,
// then its fields. A mapping without the field Anonymous counts as written to.
func parse(smaps io.Reader) (all []mapping) {
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		var m mapping
		var skip string // offset, device and inode
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %s", &m.from, &m.to, &m.perms, &skip, &skip, &skip); n == 6 {
			if at := strings.IndexByte(lines.Text(), '/'); at >= 0 {
				m.file = lines.Text()[at:]
			}
			m.anonymous = -1
			all = append(all, m)
			continue
		}
		if len(all) == 0 {
			continue
		}
		_, _ = fmt.Sscanf(lines.Text(), "Rss: %d kB", &all[len(all)-1].rss) // most lines are other fields
		_, _ = fmt.Sscanf(lines.Text(), "Anonymous: %d kB", &all[len(all)-1].anonymous)
	}
	return all
}
