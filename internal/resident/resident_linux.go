package resident

import (
	"bufio"
	"io"
	"os"
	"strconv"
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
		key, value, found := strings.Cut(lines.Text(), ":")
		if !found || strings.Contains(key, " ") { // a mapping's device has a colon, too
			if m, ok := parseMapping(lines.Text()); ok {
				all = append(all, m)
			}
			continue
		}
		if len(all) == 0 {
			continue
		}
		switch m := &all[len(all)-1]; key {
		case "Rss":
			m.rss = kib(value)
		case "Anonymous":
			m.anonymous = kib(value)
		}
	}
	return all
}

// parseMapping reads such a line as
//
//	00400000-0127e000 r-xp 00000000 fe:00 10191253    /opt/pillion
func parseMapping(line string) (m mapping, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return m, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	first, err := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err != nil || err2 != nil {
		return m, false
	}
	m = mapping{from: uintptr(first), to: uintptr(end), perms: fields[1], anonymous: -1}
	if at := strings.IndexByte(line, '/'); at >= 0 {
		m.file = line[at:]
	}
	return m, true
}

// kib reads such a value as "   76 kB"; what it is not is -1.
func kib(value string) int {
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, " kB")))
	if err != nil {
		return -1
	}
	return n
}
