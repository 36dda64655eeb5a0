package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// havingEnv are the living processes that have the pair in their environment.
func havingEnv(pair string) []int {
	var out []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, data...), []byte("\x00"+pair+"\x00")) {
			continue // gone meanwhile, or a zombie, which has none
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// commandOf is a process's command line.
func commandOf(pid int) string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(pid) + " " + string(bytes.ReplaceAll(data, []byte{0}, []byte{' '}))
}
