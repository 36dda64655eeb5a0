package logs_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/logs"
)

// BenchmarkLine is what a line costs the app: taking it, not the disk.
func BenchmarkLine(b *testing.B) {
	s, err := logs.Open(b.TempDir(), logs.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Begin(b.Context(), logs.Info{App: "api"})
	if err != nil {
		b.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 99) + "\n")
	out := r.Writer(logs.Stdout)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		_, _ = out.Write(line)
	}
	b.ReportMetric(float64(r.Lost())/float64(b.N), "lost/op")
	_ = r.Close(b.Context()) // lost lines are reported
}

// BenchmarkRead is a line of a search that finds nothing but reads all.
func BenchmarkRead(b *testing.B) {
	s, err := logs.Open(b.TempDir(), logs.Limits{Queue: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Begin(b.Context(), logs.Info{App: "api"})
	if err != nil {
		b.Fatal(err)
	}
	put(r.Writer(logs.Stdout), strings.Repeat(strings.Repeat("x", 99)+"\n", 100_000))
	if err := r.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	runs, err := s.Runs(logs.App{Namespace: "default", Name: "api"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(100 * 100_000)
	for b.Loop() {
		n := 0
		err := s.Read(b.Context(), logs.Query{Runs: runs}, func(logs.Line) error { n++; return nil })
		if err != nil || n != 100_000 {
			b.Fatalf("%d lines, %v", n, err)
		}
	}
}
