package ca_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pillion-dev/pillion/tls/ca"
)

// What a start costs: opening the CA of a home, and making it the first time.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	if _, _, err := ca.Ensure(b.Context(), dir, ca.Options{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ca.Open(dir, ca.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMake(b *testing.B) {
	dir := b.TempDir()
	n := 0
	for b.Loop() {
		n++
		if _, _, err := ca.Ensure(b.Context(), filepath.Join(dir, strconv.Itoa(n)), ca.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
