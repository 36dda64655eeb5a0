package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBlocksAreReplacedAndTheRestIsKept(t *testing.T) {
	t.Parallel()
	text := "# Title\n\n<!-- bench:http -->\nold\ntable\n<!-- /bench:http -->\n\nWords of ours.\n"
	got, err := replaceBlock(text, "http", "new\n")
	if want := "# Title\n\n<!-- bench:http -->\nnew\n<!-- /bench:http -->\n\nWords of ours.\n"; err != nil || got != want {
		t.Errorf("replaceBlock = %q, %v, want %q", got, err, want)
	}
	if again, err := replaceBlock(got, "http", "new\n"); err != nil || again != got {
		t.Errorf("a second time: %q, %v, want no change", again, err)
	}
	if _, err := replaceBlock(text, "grpc", "x"); err == nil {
		t.Error("a block that is not there gave no error")
	}
}

// The document has every block that is written, and every plot it shows is
// one that is written.
func TestTheDocumentHasAPlaceForEverything(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	document, err := os.ReadFile(filepath.Join("..", "..", docsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, docsFile)
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	c := comparisonOf(small(1), small(32), scenario{protoGRPC, shape{Up: 54}, 1, 1}, scenario{protoGRPC, shape{Up: 54}, 32, 1})
	g := growthReport{Idle: idleConnections{1000, memory{1, 1}, memory{2, 2}}}
	for _, name := range []string{"connections", "instances", "sidecars"} {
		g.Curves = append(g.Curves, curve{Name: name, Axis: name, Base: 32, Steps: []step{{32, 0, measuredResult(small(32))}}})
	}
	if err := c.writeDocs(root); err != nil {
		t.Fatal(err)
	}
	if err := g.page().write(root); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, part := range strings.Split(string(out), "](performance/")[1:] {
		name, _, _ := strings.Cut(part, ")")
		shown++
		if _, err := os.Stat(filepath.Join(root, plotsFolder, name)); err != nil {
			t.Errorf("the document shows a plot that is not written: %v", err)
		}
	}
	written, err := os.ReadDir(filepath.Join(root, plotsFolder))
	if err != nil || len(written) != shown {
		t.Errorf("%d plots are written, %d shown, %v", len(written), shown, err)
	}
}
