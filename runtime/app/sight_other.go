//go:build !linux

package app

import "time"

// Neither is known here.
func (*sight) heard() time.Duration { return 0 }
func (*sight) refused(int) bool     { return false }
