//go:build unix

package filelock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/filelock"
)

// A probe on a busy machine may keep its shared lock for seconds.
func TestTryLockWaitsForAProbeThatGetsNoTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	synctest.Test(t, func(t *testing.T) {
		probe, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(probe.Fd()), syscall.LOCK_SH); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			l, err := filelock.TryLock(path)
			if err == nil {
				err = l.Unlock()
			}
			got <- err
		}()
		time.Sleep(5 * time.Second)
		if err := syscall.Flock(int(probe.Fd()), syscall.LOCK_UN); err != nil {
			t.Fatal(err)
		}
		_ = probe.Close()
		if err := <-got; err != nil {
			t.Errorf("TryLock beside a slow probe = %v", err)
		}
	})
}
