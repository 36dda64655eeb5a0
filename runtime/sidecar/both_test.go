package sidecar

import (
	"strconv"
	"testing"

	"github.com/pillion-dev/pillion/runtime/sources"
)

// However many changes wait for their turn, only the first are kept by name.
func TestChangesThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	var all sources.Changes
	for i := range 10 * changesKept {
		all = both(all, sources.Changes{Paths: []string{"f" + strconv.Itoa(i)}, Total: 1})
	}
	if len(all.Paths) != changesKept || all.Paths[0] != "f0" || all.Total <= changesKept {
		t.Errorf("%d kept of %d, the first %s", len(all.Paths), all.Total, all.Paths[0])
	}
}
