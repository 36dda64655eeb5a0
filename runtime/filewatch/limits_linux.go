package filewatch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// advice is which of the system's limits was met, and how it is raised: facts
// for the log.
func advice(err error) []any {
	name, common := "", 0
	switch {
	case errors.Is(err, unix.ENOSPC):
		name, common = "fs.inotify.max_user_watches", 524_288
	case errors.Is(err, unix.EMFILE):
		name, common = "fs.inotify.max_user_instances", 512
	default:
		return nil
	}
	text, errRead := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	now, errParse := strconv.Atoi(strings.TrimSpace(string(text)))
	if errRead != nil || errParse != nil {
		return nil
	}
	return []any{"limit", fmt.Sprintf("%s=%d", name, now), "fix", fmt.Sprintf("sudo sysctl %s=%d", name, max(common, 2*now))}
}

// tooDear reports whether the system had better not be asked to tell of so many.
// inotify keeps something for each folder, as many as it allows.
func tooDear(_, _ int) bool { return false }
