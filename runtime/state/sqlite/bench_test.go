package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/sqlite"
)

func benchmarked(b *testing.B) *sqlite.Store {
	b.Helper()
	s := sqlite.New(sqlite.Config{Path: filepath.Join(b.TempDir(), "state.db")})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := s.Transact(b.Context(), []state.Operation{{Set: &state.Set{Key: "app||tasks", Value: []byte(`[{"id":1}]`)}}}); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := benchmarked(b)
	b.ReportAllocs()
	for b.Loop() {
		if item, err := s.Get(b.Context(), state.Get{Key: "app||tasks"}); err != nil || !item.Exists() {
			b.Fatal(err)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	s := benchmarked(b)
	ops := []state.Operation{{Set: &state.Set{Key: "app||tasks", Value: []byte(`[{"id":1}]`)}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Transact(b.Context(), ops); err != nil {
			b.Fatal(err)
		}
	}
}
